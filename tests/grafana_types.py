"""Grafana's own TypeScript types, held against a dashboard's JSON by the TypeScript compiler."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.needs import needs_node

NODE = Path(__file__).with_name("node")
TYPES = NODE / "node_modules" / "@grafana" / "schema" / "dist" / "types" / "raw"
DASHBOARD = TYPES / "dashboard" / "x" / "types.gen"
# Enumerations of TypeScript are types of their own; in JSON they are their strings. An annotation's query stands beside
# what every annotation has.
HEADER = """\
type Json<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends Array<infer U> ? Array<Json<U>> : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
type Annotated = Omit<Dashboard, "annotations"> & { annotations: { list: Array<AnnotationQuery & { expr: string }> } };
"""
# Kinds of panels whose types name their fields too; the others have options alone.
WITH_FIELDS = ("timeseries", "table", "heatmap", "state-timeline")


def complaints(directory: Path, dashboards: dict[str, dict[str, Any]]) -> str:
    """What the compiler has against them, by the name of each; empty where they fit."""
    needs_node("@grafana/schema")
    compiler = NODE / "node_modules" / ".bin" / "tsc"
    files = [directory / f"{name}.ts" for name in dashboards]
    for file, dashboard in zip(files, dashboards.values(), strict=True):
        file.write_text(program(dashboard))
    words = [compiler, "--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"]
    ran = subprocess.run([*words, *files], capture_output=True, text=True, check=False, cwd=directory)
    assert ran.returncode == 0 or ran.stdout, ran.stderr
    return ran.stdout


def program(dashboard: dict[str, Any]) -> str:
    """Declares the dashboard, and each panel's options and fields, to be what Grafana says they are."""
    lines = [
        f"import type {{ AnnotationQuery, Dashboard }} from {json.dumps(str(DASHBOARD))};",
        HEADER,
        f"export const dashboard: Json<Annotated> = {json.dumps(dashboard)};",
    ]
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            lines += _panel(panel)
    return "\n".join(lines) + "\n"


def _panel(panel: dict[str, Any]) -> list[str]:
    number, kind = panel["id"], panel["type"]
    module = json.dumps(str(TYPES / "composable" / kind.replace("-", "") / "panelcfg" / "x" / "types.gen"))
    lines = [f"import type {{ Options as Options{number} }} from {module};"]
    lines += (
        [f"export const options{number}: Json<Partial<Options{number}>> = {json.dumps(panel['options'])};"]
        if "options" in panel
        else []
    )
    if kind in WITH_FIELDS and "custom" in panel["fieldConfig"]["defaults"]:
        fields = json.dumps(panel["fieldConfig"]["defaults"]["custom"])
        lines += [
            f"import type {{ FieldConfig as Fields{number} }} from {module};",
            f"export const fields{number}: Json<Partial<Fields{number}>> = {fields};",
        ]
    return lines
