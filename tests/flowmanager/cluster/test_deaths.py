"""What the scheduler's events say about workers that died."""

from __future__ import annotations

from typing import Any

from dflow.flowmanager.cluster.deaths import DeathWatch, WorkerDeath, as_errors, by_host


class Events:
    """A client whose scheduler has logged this; like the real one it forgets the oldest."""

    def __init__(self) -> None:
        self.status = "running"
        self.topics: dict[str, list[Any]] = {"all": [], "worker-restart-memory": []}

    def get_events(self, topic: str) -> tuple[Any, ...]:
        if self.status == "lost":
            raise OSError("no scheduler")
        return tuple(self.topics[topic][-4:])

    def removed(
        self, worker: str, at: float = 1.0, *, expected: bool = False, why: str = "nanny", keys: Any = ()
    ) -> None:
        event = {"action": "remove-worker", "worker": worker, "expected": expected, "stimulus_id": f"{why}-1"}
        self.topics["all"].append((at, {**event, "processing-tasks": list(keys)}))


def test_only_deaths_of_this_run_are_found_each_once_whatever_the_clock_says() -> None:
    events = Events()
    events.removed("tcp://10.0.0.9:1", at=5.0)
    watch = DeathWatch(events, ["encode"])  # type: ignore[arg-type]  # a stand-in
    assert watch.new_deaths() == []
    events.topics["all"].append((6.0, {"action": "add-worker", "worker": "tcp://10.0.0.1:2"}))
    events.removed("tcp://10.0.0.1:1", at=2.0, keys=["encode-000003", "others-000001"])
    events.removed("tcp://10.0.0.1:2", at=7.0, expected=True)
    events.status = "lost"
    assert watch.new_deaths() == []
    events.status = "running"
    (death,) = watch.new_deaths()
    assert death == WorkerDeath(
        "tcp://10.0.0.1:1", "10.0.0.1", "its process ended, or its host is unreachable", ("encode-000003",)
    )
    assert watch.new_deaths() == []
    for port in range(3, 9):  # more than the scheduler keeps
        events.removed(f"tcp://10.0.0.1:{port}")
    assert [found.worker[-1] for found in watch.new_deaths()] == ["5", "6", "7", "8"]
    assert len(watch.deaths) == 5


def test_causes_are_told_apart_and_counted_by_host() -> None:
    events = Events()
    watch = DeathWatch(events, ["encode"])  # type: ignore[arg-type]  # a stand-in
    events.topics["worker-restart-memory"].append((1.0, {"worker": "tcp://a:1", "pid": 7, "rss": 3 * 1024**3}))
    events.removed("tcp://a:1")
    events.removed("tcp://a:2", why="check-worker-ttl")
    events.removed("tcp://b:1")
    deaths = watch.new_deaths()
    assert by_host(deaths) == [
        ("a", 2, "its memory passed the worker's limit (3072 MiB) (1x); it sent no heartbeat for too long (1x)"),
        ("b", 1, "its process ended, or its host is unreachable (1x)"),
    ]
    (error,) = as_errors(deaths)
    assert (error.kind, error.host, error.file) == ("worker_lost", "a", "")
    assert error.message.startswith("2 workers on a were lost during the run: its memory")
