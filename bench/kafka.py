"""A real Apache Kafka for measuring: the broker, the jars and the settings that the tests use (`tests/kafka`)."""

import pathlib
import shutil
import subprocess
import time

from harness import ROOT, Process, fail, free_port

KAFKA = ROOT / "tests/kafka"
JARS = KAFKA / "target/dependency"
START = 60  # seconds


def java(main):
    return ["java", "-Xmx512m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={KAFKA}/log4j2.properties",
            "-cp", f"{JARS}/*", main]


class Broker:
    """A broker of one node on free ports with its data in `folder`; ends with its `with` block."""

    def __init__(self, folder, more=""):
        """`more` are settings that are added."""
        self.more = more
        if not list(JARS.glob("kafka_2.13-*.jar")) or not shutil.which("java"):
            fail("no Kafka broker or no java: run `make parts` first")
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "kafka"
        self.address = f"127.0.0.1:{free_port()}"

    def __enter__(self):
        settings = (KAFKA / "server.properties").read_text()
        controller = free_port()
        values = {"id": 1, "broker": self.address.split(":")[1], "controller": controller, "data": self.data,
                  "voters": f"1@127.0.0.1:{controller}", "replicas": 1, "in_sync": 1}
        for name, value in values.items():
            settings = settings.replace("{" + name + "}", str(value))
        properties = self.folder / "server.properties"
        properties.write_text(settings + self.more)
        command = [*java("kafka.tools.StorageTool"), "format", "-t", "bWlsbHJhY2UtdGVzdC1rYQ", "-c", str(properties)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START)
        if done.returncode != 0:
            fail(f"the broker's storage was not formatted:\n{done.stdout}{done.stderr}")
        self.process = Process("kafka", [*java("kafka.Kafka"), properties], self.folder).__enter__()
        deadline = time.monotonic() + START
        while "Kafka Server started" not in self.process.log.read_text(errors="replace"):
            self.process.alive()
            if time.monotonic() > deadline:
                self.process.stop()
                fail("the broker did not start")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.process.stop()

    def topic_bytes(self, topic):
        """What the topic's messages take on the broker's disk."""
        return sum(file.stat().st_size for file in self.data.glob(f"{topic}-[0-9]*/*.log"))
