"""The Device board's lower half: the machine itself."""

from tools.boards.panel import BAD, CALM, CARE, WINDOW, Panel, Query, Row

WORKER = "{{instance}} {{worker}}"
UNKEPT = "goldline_pictures_dropped_total{STATION}"


MACHINE = Row(
    "The machine",
    (
        Panel(
            title="Processors, by what they do",
            kind="areas",
            unit="short",
            shows="Processors in use, stacked; idle is what is left.",
            good="some idle. steal and iowait near nothing.",
            act="iowait: the disk. steal: the host gives this virtual machine's time to others.",
            queries=(
                Query(
                    f"sum by (mode) (rate(goldline_device_cpu_seconds_total{{STATION}}[{WINDOW}]))",
                    "{{mode}}",
                ),
            ),
            colours={"idle": "#d8d9da", "user": CALM, "system": CARE, "iowait": "yellow", "steal": BAD},
        ),
        Panel(
            title="Processor time by worker",
            kind="areas",
            unit="short",
            shows="Processors that each worker uses.",
            good="inspection is the most.",
            act="A worker that uses one whole without work: save the log, restart it.",
            queries=(
                Query(
                    f"sum by (instance, worker) (rate(goldline_worker_cpu_seconds_total{{STATION}}[{WINDOW}]))", WORKER
                ),
            ),
        ),
        Panel(
            title="Memory by worker",
            kind="areas",
            unit="bytes",
            shows="Resident memory of each worker, pages they share counted at each.",
            good="level after the first hour.",
            act="One that grows for days is a fault: report it with this picture.",
            queries=(Query("sum by (instance, worker) (goldline_worker_resident_memory_bytes{STATION})", WORKER),),
            alert="GoldlineMemoryLow",
        ),
        Panel(
            title="Since a worker's loop came round",
            kind="lines",
            unit="s",
            shows="Time since each worker's main loop last said that it goes round.",
            good="below a second or two.",
            act="One that rises hangs; it is killed and started again at its deadline.",
            queries=(Query("max by (instance, worker) (goldline_worker_heartbeat_age_seconds{STATION})", WORKER),),
        ),
        Panel(
            title="Threads and open files",
            kind="lines",
            unit="short",
            shows="Threads and open descriptors of all workers of a station.",
            good="level.",
            act="Rising for days is a leak: report it with this picture.",
            queries=(
                Query("sum by (instance) (goldline_worker_threads{STATION})", "threads {{instance}}"),
                Query("sum by (instance) (goldline_worker_open_fds{STATION})", "descriptors {{instance}}"),
            ),
        ),
        Panel(
            title="Free on the disks",
            kind="lines",
            unit="percentunit",
            shows="Share of each file system that a station writes which is free.",
            good="above 20 %.",
            act="What else fills it: `du -xh --max-depth=1`. Pictures and events keep within their own limits.",
            queries=(
                Query(
                    "goldline_device_disk_free_bytes{STATION} / goldline_device_disk_size_bytes{STATION}",
                    "{{instance}} {{directory}}",
                ),
            ),
            steps=((None, BAD), (0.1, CALM)),
            is_limit=True,
            top=1.0,
            alert="GoldlineDiskLow",
        ),
        Panel(
            title="Temperatures",
            kind="lines",
            unit="celsius",
            shows="What the machine's sensors say, and dashed where it stops itself.",
            good="20 degrees below the dashed line.",
            act="Fan, dust, the cabinet's air. A hot machine slows down before it stops.",
            queries=(
                Query("goldline_device_temperature_celsius{STATION}", "{{instance}} {{sensor}}"),
                Query("goldline_device_temperature_limit_celsius{STATION}", "limit {{instance}} {{sensor}}"),
            ),
            dashed="/^limit/",
            alert="GoldlineTemperature",
        ),
        Panel(
            title="Since the machine last answered",
            kind="lines",
            unit="s",
            shows="How old the newest reading of each of its parts is: disks, sensors, accelerator.",
            good="below 10 s.",
            act="One that rises hangs: `dmesg`. A disk that is dying hangs before it fails.",
            queries=(Query("goldline_device_reading_age_seconds{STATION}", "{{instance}} {{source}}"),),
            alert="GoldlineDeviceUnread",
        ),
        Panel(
            title="Reading the station itself",
            kind="lines",
            unit="s",
            shows="How long Prometheus takes to read a station's metrics.",
            good="below 0.1 s.",
            act="A machine without time to spare; verdicts do not wait for it.",
            queries=(Query("scrape_duration_seconds{STATION}", "{{instance}}"),),
            alert="GoldlineScrapeSlow",
        ),
    ),
)

ACCELERATOR = Row(
    "Accelerator",
    (
        Panel(
            title="Accelerator: busy",
            kind="lines",
            unit="percentunit",
            shows="Share of the time that it computes.",
            good="below 80 %.",
            act="Near 100 %: frames wait, see the queue stage.",
            queries=(Query("goldline_gpu_utilization_ratio{STATION}", "{{instance}} {{gpu}}"),),
            top=1.0,
            width=6,
        ),
        Panel(
            title="Accelerator: memory",
            kind="lines",
            unit="bytes",
            shows="Its memory in use, and dashed all of it.",
            good="room for one more product: a change of product loads it beside the old one.",
            act="Another program on it: `nvidia-smi`.",
            queries=(
                Query("goldline_gpu_memory_used_bytes{STATION}", "{{instance}} {{gpu}}"),
                Query("goldline_gpu_memory_total_bytes{STATION}", "all {{instance}} {{gpu}}"),
            ),
            dashed="/^all/",
            width=6,
        ),
        Panel(
            title="Accelerator: temperature",
            kind="lines",
            unit="celsius",
            shows="Temperature of the chip.",
            good="below 80 degrees.",
            act="Fan, dust, the cabinet's air: from 83 degrees on it slows down.",
            queries=(Query("goldline_gpu_temperature_celsius{STATION}", "{{instance}} {{gpu}}"),),
            steps=((None, CALM), (82, BAD)),
            is_limit=True,
            width=6,
            alert="GoldlineGpuHot",
        ),
        Panel(
            title="Accelerator: power",
            kind="lines",
            unit="watt",
            shows="What it draws.",
            good="what its load explains.",
            act="High without load: another program on it.",
            queries=(Query("goldline_gpu_power_watts{STATION}", "{{instance}} {{gpu}}"),),
            width=6,
        ),
    ),
)
