"""The address space: one VisionSystem of OPC 40100-1 with what this station has of it, and a few nodes of our own.

    Objects
    └─ VisionSystem                      VisionSystemType; sends the events, as does Server
       ├─ VisionStateMachine             CurrentState, Halt, Reset
       │  └─ AutomaticModeStateMachine   CurrentState, StartSingleJob, StartContinuous, Stop, Abort
       ├─ ResultManagement               GetResultById, GetResultComponentsById, GetResultListFiltered
       │  └─ Results                     one ResultType variable a channel: its newest result
       ├─ RecipeManagement               PrepareRecipe, GetRecipeListFiltered
       ├─ SystemState
       ├─ LifeCounter, Alarms, LastRefusal, Product, Variant
       ├─ Channels                       one folder a channel, with plain values for PLCs that know no structures
       └─ Trigger, Announce              methods

NodeIds of instances are text, the path from VisionSystem on, so that they are the same at every start.
"""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from asyncua import ua
from asyncua.common.node import Node
from asyncua.server.server import Server

from edge.lanes.opcua_types import tell_apart, variant_of, words

COMPANION = "http://opcfoundation.org/UA/MachineVision"
OWN = "urn:goldline:vision"
NODESET = Path(__file__).parent / "nodesets" / "Opc.Ua.MachineVision.NodeSet2.xml"
ROOT = "VisionSystem"

Method = Callable[..., Coroutine[Any, Any, ua.CallMethodResult]]
_Text, _Flag = ua.VariantType.String, ua.VariantType.Boolean
# The plain values of a channel, with what they are before anything was decided.
CHANNEL_VALUES: dict[str, tuple[ua.VariantType, Any]] = {
    "TriggerId": (ua.VariantType.UInt64, 0),
    "Verdict": (_Text, ""),
    "Evaluation": (ua.VariantType.Int32, 0),
    "Reason": (_Text, ""),
    "Good": (_Flag, False),
    "Review": (_Flag, False),
    "OnTime": (_Flag, False),
    "UnitIdentifier": (_Text, ""),
    "Score": (ua.VariantType.Double, float("inf")),
    "Decided": (ua.VariantType.DateTime, datetime(1970, 1, 1, tzinfo=UTC)),
}


class Space:
    """The nodes of a running server. Use `build`."""

    def __init__(self, server: Server, companion: int, own: int) -> None:
        """`companion` and `own` are the indices of the two namespaces."""
        self.server, self.companion, self.own = server, companion, own
        self._components: dict[str, list[tuple[str, Node]]] = {}

    @classmethod
    async def build(cls, server: Server, station_id: str, channels: tuple[str, ...], alive: Callable[[], None]) -> Self:
        """Load the companion specification and make the instance; takes a second or two, on a busy machine many.

        `alive` is called between its steps.
        """
        await server.import_xml(str(NODESET))
        alive()
        await server.load_data_type_definitions()
        alive()
        companion = await server.get_namespace_index(COMPANION)
        tell_apart(companion)
        space = cls(server, companion, await server.register_namespace(OWN))
        await space._make_system(station_id)
        alive()
        await space._make_results(channels)
        await space._make_own(channels)
        return space

    # --- finding

    def type(self, number: int) -> Node:
        """A type of the companion specification by its number there."""
        return self.server.get_node(words.NodeId(number, self.companion))

    def node(self, path: str) -> Node:
        """An instance by its path below VisionSystem; empty for itself."""
        return self.server.get_node(self._id(path))

    async def states_of(self, kind: int) -> dict[str, ua.NodeId]:
        """The states and transitions that a type of state machine declares, by name."""
        return {
            (await child.read_browse_name()).Name or "": child.nodeid for child in await self.type(kind).get_children()
        }

    # --- values

    async def write(self, path: str, value: ua.Variant, *, status: int = words.StatusCodes.Good) -> None:
        """Set a variable, whatever its access level."""
        await self._write(self._id(path), value, status)

    async def write_result(self, channel: str, value: Any) -> None:
        """The newest result of a channel, with its components."""
        path = f"ResultManagement.Results.{channel}"
        await self._write(self._id(path), variant_of(value))
        for name, node in self._components[channel]:
            await self._write(node.nodeid, variant_of(getattr(value, name)))

    async def _write(self, node_id: ua.NodeId, value: ua.Variant, status: int = words.StatusCodes.Good) -> None:
        stamped = words.DataValue(value, StatusCode=words.StatusCode(status), SourceTimestamp=datetime.now(UTC))
        await self.server.write_attribute_value(node_id, stamped)

    # --- methods

    async def link(self, path: str, method: Method) -> None:
        """Have a method of an instance carried out; also where a client calls it by the node of the type."""
        node = self.node(path)
        self.server.link_method(node, method)
        parent = self.server.get_node(await self._type_of(node))
        for declared in await parent.get_methods():
            if await declared.read_browse_name() == await node.read_browse_name():
                self.server.link_method(declared, method)

    async def add_method(
        self, name: str, method: Method, takes: dict[str, ua.VariantType], gives: dict[str, ua.VariantType]
    ) -> None:
        """A method of our own at VisionSystem; arguments by name, all of them plain."""
        given = [[_argument(argument, kind) for argument, kind in side.items()] for side in (takes, gives)]
        await self.node("").add_method(self._id(name), words.QualifiedName(name, self.own), method, *given)

    async def _type_of(self, method: Node) -> ua.NodeId:
        parent = await method.get_parent()
        assert parent is not None
        return words.NodeId() if (found := await parent.read_type_definition()) is None else found

    # --- making

    def _id(self, path: str) -> ua.NodeId:
        return words.NodeId(f"{ROOT}.{path}" if path else ROOT, self.own)

    async def _make_system(self, station_id: str) -> None:
        system = await self._instance(self.server.nodes.objects, "", ROOT, 1003, self.own)
        await system.write_attribute(
            words.AttributeIds.DisplayName,
            words.DataValue(ua.Variant(ua.LocalizedText(f"Goldline {station_id}", "en"))),
        )
        await system.set_event_notifier([ua.EventNotifier.SubscribeToEvents])
        await self.server.nodes.server.add_reference(system, words.ObjectIds.HasNotifier)
        machine = self.node("VisionStateMachine")
        await self._instance(machine, "VisionStateMachine.AutomaticModeStateMachine", "AutomaticModeStateMachine", 1021)
        await self._instance(system, "ResultManagement", "ResultManagement", 1007)
        await self._instance(system, "RecipeManagement", "RecipeManagement", 1004)
        state_type = words.NodeId(3024, self.companion)
        await system.add_variable(
            self._id("SystemState"),
            words.QualifiedName("SystemState", self.companion),
            None,
            ua.VariantType.ExtensionObject,
            state_type,
        )

    async def _instance(self, parent: Node, path: str, name: str, kind: int, namespace: int | None = None) -> Node:
        """An object of one of the specification's types, with what is mandatory of it."""
        qualified = words.QualifiedName(name, self.companion if namespace is None else namespace)
        return await parent.add_object(
            self._id(path), qualified, objecttype=self.type(kind).nodeid, instantiate_optional=False
        )

    async def _make_results(self, channels: tuple[str, ...]) -> None:
        folder = await self._instance(self.node("ResultManagement"), "ResultManagement.Results", "Results", 1016)
        for channel in channels:
            variable = await folder.add_variable(
                self._id(f"ResultManagement.Results.{channel}"),
                words.QualifiedName(channel, self.own),
                None,
                ua.VariantType.ExtensionObject,
                words.NodeId(3006, self.companion),
            )
            self._components[channel] = await self._components_of(variable, channel)

    async def _components_of(self, variable: Node, channel: str) -> list[tuple[str, Node]]:
        """The parts of a result as variables of their own, as ResultType wants them."""
        made: list[tuple[str, Node]] = []
        for declared in await self.type(2002).get_children():
            qualified = await declared.read_browse_name()
            name = qualified.Name or ""
            node = await variable.add_variable(
                self._id(f"ResultManagement.Results.{channel}.{name}"),
                qualified,
                _nothing(name),
                datatype=await declared.read_data_type(),
            )
            made.append((name, node))
        return made

    async def _make_own(self, channels: tuple[str, ...]) -> None:
        system = self.node("")
        await self._variable(system, "LifeCounter", ua.VariantType.UInt32, 0)
        for name in ("LastRefusal", "Product", "Variant"):
            await self._variable(system, name, _Text, "")
        await system.add_variable(
            self._id("Alarms"), words.QualifiedName("Alarms", self.own), ua.Variant([], _Text, is_array=True)
        )
        folder = await system.add_folder(self._id("Channels"), words.QualifiedName("Channels", self.own))
        for channel in channels:
            one = await folder.add_folder(self._id(f"Channels.{channel}"), words.QualifiedName(channel, self.own))
            for name, (kind, value) in CHANNEL_VALUES.items():
                await self._variable(one, f"Channels.{channel}.{name}", kind, value)

    async def _variable(self, parent: Node, path: str, kind: ua.VariantType, value: Any) -> None:
        name = path.rpartition(".")[2]
        await parent.add_variable(self._id(path), words.QualifiedName(name, self.own), ua.Variant(value, kind))


def _argument(name: str, kind: ua.VariantType) -> ua.Argument:
    return words.Argument(Name=name, DataType=words.NodeId(kind.value), ValueRank=-1)


def _nothing(name: str) -> ua.Variant:
    """What a component of a result is before there was one; asyncua holds a variable to the kind it began with."""
    if name == "ResultContent":
        return ua.Variant([], ua.VariantType.Variant, is_array=True)
    return ua.Variant(None, ua.VariantType.Null)
