"""Loaders that were stopped go on where the loop was: with other workers, other ranks, and under Lightning."""

from __future__ import annotations

import json
import os
import pickle
import signal
from importlib.util import find_spec
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.dataset.training.subset import CADDataset
from dflow.errors import DatasetError
from tests.extras import Extra

torch = Extra("torch")

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than processors

KINDS = ["map", "block"]


def make(train: CADDataset, kind: str, batch_size: int | None = 5, **options: Any) -> Any:
    dataset = CADDataset(train.source, train.get_file_codes()).to_torch()
    if kind == "map":
        return dataset.get_dataloader(batch_size, **{"shuffle": True, "seed": 3, **options})
    return dataset.get_block_loader(batch_size, block_size=4, fetch_blocks=3, seed=3, **options)


def ids_of(batches: Any) -> list[list[int]]:
    return [batch["id"].tolist() for batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return [i for batch in batches for i in batch]


def stop_after(loader: Any, n_batches: int) -> tuple[list[list[int]], dict[str, Any]]:
    """Batches, and the state then, as it comes from a file."""
    taken = [batch["id"].tolist() for _, batch in zip(range(n_batches), loader, strict=False)]
    return taken, json.loads(json.dumps(loader.state_dict()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [(0, 2), (2, 0), (2, 3)])
def test_what_was_yielded_counts_and_not_what_was_read_ahead(
    train: CADDataset, kind: str, workers: tuple[int, int]
) -> None:
    plain = make(train, kind)
    whole = [ids_of(plain) for _ in range(3)]
    before, after = workers
    for n_batches in (0, 4):
        loader = make(train, kind, num_workers=before)
        list(loader)
        iterator = iter(loader)
        taken = ids_of(next(iterator) for _ in range(n_batches))
        state = json.loads(json.dumps(loader.state_dict()))
        other = make(train, kind, num_workers=after)
        other.load_state_dict(state)
        assert len(other) == len(whole[1])
        assert taken + ids_of(other) == whole[1]
        assert ids_of(other) == whole[2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{"max_rows": {"faces": 25}}, {"max_rows": {"faces": 25}, "batch_size": None}])
def test_batches_with_limited_rows_go_on_too(train: CADDataset, kind: str, options: dict[str, Any]) -> None:
    whole = ids_of(make(train, kind, **options))
    taken, state = stop_after(make(train, kind, **options), 5)
    other = make(train, kind, **options)
    other.load_state_dict(state)
    assert len(other) == len(whole)
    assert taken + ids_of(other) == whole
    with pytest.raises(DatasetError, match=r"max_rows=\{'faces': 25\}, this one has None"):
        make(train, kind).load_state_dict(state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_epoch_is_followed_by_the_next(train: CADDataset, kind: str) -> None:
    plain = make(train, kind)
    whole = [ids_of(plain) for _ in range(3)]
    loader = make(train, kind)
    iterator = iter(loader)
    for _ in range(len(loader)):
        next(iterator)
    at_the_last_batch = loader.state_dict()
    assert next(iterator, None) is None
    for state in (at_the_last_batch, loader.state_dict()):
        again = make(train, kind)
        again.load_state_dict(state)
        assert ids_of(again) == whole[1]
        again.load_state_dict(state)
        again.set_epoch(0)  # a loop that counts epochs by itself and begins with the one that was saved
        assert ids_of(again) == []
        again.set_epoch(0)
        assert ids_of(again) == whole[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_that_of_the_loop_also_after_it_was_loaded(train: CADDataset, kind: str) -> None:
    whole = ids_of(make(train, kind))
    loader = make(train, kind, num_workers=1, persistent_workers=True)
    first, state = stop_after(loader, 3)
    loader.load_state_dict(state)  # into the loader that is running, too
    assert loader.state_dict() == state
    second, state = stop_after(loader, 4)
    loader.load_state_dict(state)
    assert first + second + ids_of(loader) == whole
    assert ids_of(loader) != whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_is_left_leaves_no_worker(train: CADDataset, kind: str) -> None:
    loader = make(train, kind, num_workers=1)
    before = set(active_children())
    for _ in loader:
        break
    assert not set(active_children()) - before
    assert loader.state_dict()["steps"] == [[1, 5, 1]]
    pickle.loads(pickle.dumps(loader))  # as a launcher of processes does


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("drop_last", [False, True])
def test_other_ranks_and_batches_take_the_rest(train: CADDataset, kind: str, drop_last: bool) -> None:
    seen: list[int] = []
    state: dict[str, Any] | None = None
    for world_size, batch_size, n_batches in ((2, 5, 2), (3, 4, 1), (1, 6, 2), (2, 3, 99)):
        states = []
        for rank in range(world_size):
            loader = make(
                train, kind, batch_size, rank=rank, world_size=world_size, drop_last=drop_last, num_workers=rank % 2
            )
            if state is not None:
                loader.load_state_dict(state)
            taken, new = stop_after(loader, n_batches)
            seen += flat(taken)
            states.append(new)
        assert all(s == states[0] for s in states)
        state = states[0]
    assert state is not None
    assert state["finished"]
    codes = set(train.get_file_codes().tolist())
    if drop_last:
        assert len(codes) - 6 < len(seen) == len(set(seen))
    else:
        assert set(seen) == codes
        assert len(seen) - len(codes) < 2


def test_a_seed_that_was_drawn_is_part_of_the_state(train: CADDataset) -> None:
    loader = make(train, "map", seed=None)
    taken, state = stop_after(loader, 3)
    other = make(train, "map", seed=None)
    other.load_state_dict(state)
    assert sorted(flat(taken) + flat(ids_of(other))) == train.get_file_codes().tolist()
    ranks = [make(train, "map", seed=None, rank=rank, world_size=2) for rank in (0, 1)]
    assert sorted(flat(ids_of(ranks[0]) + ids_of(ranks[1]))) == train.get_file_codes().tolist()


def test_a_sampler_of_ones_own_goes_on_too(train: CADDataset) -> None:
    sampler = torch.utils.data.DistributedSampler(train, num_replicas=2, rank=1, seed=4)
    whole = ids_of(make(train, "map", sampler=sampler, shuffle=False))
    loader = make(train, "map", sampler=sampler, shuffle=False)
    taken, state = stop_after(loader, 2)
    other = make(train, "map", sampler=sampler, shuffle=False)
    other.load_state_dict(state)
    assert len(other) == len(whole)
    assert taken + ids_of(other) == whole == ids_of(other)


def test_states_that_do_not_fit_are_refused(train: CADDataset) -> None:
    _, state = stop_after(make(train, "map"), 2)
    fewer = CADDataset(train.source, train.get_file_codes()[1:]).to_torch().get_dataloader(5, shuffle=True)
    for loader, problem in (
        (fewer, "n_samples=56, this one has 55"),
        (make(train, "block"), "order='SamplePlan', this one has 'BlockPlan'"),
        (make(train, "map", drop_last=True), "drop_last=False, this one has True"),
        (make(train, "map", sampler=range(5), shuffle=False), "this one has 'sampler'"),
    ):
        with pytest.raises(DatasetError, match=problem):
            loader.load_state_dict(state)
    with pytest.raises(DatasetError, match="state_dict"):
        fewer.load_state_dict({"epoch": 1})
    with pytest.raises(DatasetError, match="in_order"):
        make(train, "map", num_workers=1, in_order=False).state_dict()
    with pytest.raises(DatasetError, match="expected both"):
        make(train, "map", rank=1)


def run_rank(train: CADDataset, kind: str, rank: int, world_size: int, folder: Path, kill_at: int | None) -> None:
    """Take steps together with the other ranks, note what each took, and save the loader's state after every second
    one; the loader asks `torch.distributed` for its part.
    """
    loader = make(train, kind, batch_size=4, num_workers=1)  # made before the group, as scripts do
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/group{world_size}", rank=rank, world_size=world_size
    )
    checkpoint = folder / "state.pt"
    if checkpoint.exists():
        loader.load_state_dict(torch.load(checkpoint, weights_only=True))
    for step, batch in enumerate(loader):
        with (folder / f"{world_size}_{rank}.txt").open("a") as file:
            file.write(json.dumps(batch["id"].tolist()) + "\n")
        torch.distributed.all_reduce(torch.ones(1))
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if step % 2 and rank == 0:
            torch.save(loader.state_dict(), folder / "new.pt")
            (folder / "new.pt").rename(checkpoint)
        torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # Python 3.12; gloo has threads
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_that_were_killed_go_on_as_three(train: CADDataset, kind: str, tmp_path: Path) -> None:
    def run(world_size: int, kill_at: int | None) -> list[int | None]:
        context = get_context("fork")
        arguments = [(train, kind, rank, world_size, tmp_path, kill_at) for rank in range(world_size)]
        processes = [context.Process(target=run_rank, args=a) for a in arguments]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return [process.exitcode for process in processes]

    def steps(world_size: int) -> list[list[int]]:
        ranks = [
            [json.loads(line) for line in (tmp_path / f"{world_size}_{rank}.txt").read_text().splitlines()]
            for rank in range(world_size)
        ]
        return [flat(list(step)) for step in zip(*ranks, strict=True)]

    assert run(2, kill_at=4) == [-signal.SIGKILL, -signal.SIGKILL]
    assert run(3, kill_at=None) == [0, 0, 0]
    before, after = steps(2), steps(3)
    kept = flat(before[:4])  # the state was saved after the second and the fourth step
    assert len(before) == 5
    codes = train.get_file_codes().tolist()
    assert sorted(set(kept + flat(after))) == codes
    assert len(set(kept + flat(after[:-1]))) == len(kept + flat(after[:-1]))
    assert len(kept + flat(after)) - len(codes) <= 2
    assert np.max([len(step) for step in after]) == 12


def lightning_module() -> Any:
    import lightning

    class Recorder(lightning.LightningModule):
        """Notes the samples of every step, and fails where a process would be killed."""

        def __init__(self, kill_at: int | None = None) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))
            self.seen: list[tuple[int, list[int]]] = []
            self.kill_at = kill_at

        def training_step(self, batch: dict[str, Any], number: int) -> Any:
            if len(self.seen) == self.kill_at:
                raise KeyboardInterrupt
            self.seen.append((self.current_epoch, batch["id"].tolist()))
            return self.weight.sum()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    return Recorder


def fit(module: Any, loader: Any, folder: Path, epochs: int, checkpoint: Path | None = None) -> None:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

    saver = ModelCheckpoint(folder, every_n_train_steps=2, save_top_k=-1, filename="{step}")
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[saver],
    )
    trainer.fit(module, loader, ckpt_path=checkpoint)


@pytest.mark.slow  # importing Lightning takes longer than all other tests here
@pytest.mark.skipif(find_spec("lightning") is None, reason="lightning is not installed")
@pytest.mark.filterwarnings("ignore")  # Lightning's advice about workers, folders and intervals
@pytest.mark.parametrize("kind", KINDS)
def test_a_trainer_that_was_killed_goes_on(train: CADDataset, kind: str, tmp_path: Path) -> None:
    """In the middle of an epoch, at its last batch, and in a later epoch; the checkpoints hold the loader's state."""
    recorder = lightning_module()
    whole = recorder()
    fit(whole, make(train, kind, 8), tmp_path / "whole", epochs=3)
    epochs = [ids for _, ids in whole.seen]
    plain = make(train, kind, 8)
    assert epochs == [ids for _ in range(3) for ids in ids_of(plain)]
    assert [epoch for epoch, _ in whole.seen] == [0] * 7 + [1] * 7 + [2] * 7
    killed = recorder(kill_at=15)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(killed, make(train, kind, 8), tmp_path / "killed", epochs=3)
    for step in (4, 10, 14):
        again = recorder()
        fit(
            again, make(train, kind, 8, num_workers=1), tmp_path / "again", 3, tmp_path / "killed" / f"step={step}.ckpt"
        )
        assert killed.seen[:step] + again.seen == whole.seen


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lightning") is None, reason="lightning is not installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_trainer_goes_on_with_more_ranks(train: CADDataset, kind: str, tmp_path: Path) -> None:
    """The state is loaded before `fit`, too, as the documentation says: Lightning asks for the length first."""
    recorder = lightning_module()
    codes, seen = train.get_file_codes().tolist(), []
    for rank in (0, 1):
        killed = recorder(kill_at=5)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            fit(killed, make(train, kind, 4, rank=rank, world_size=2), tmp_path / f"{rank}", epochs=1)
        seen += [ids for _, ids in killed.seen[:4]]
    checkpoint = tmp_path / "0" / "step=4.ckpt"
    state = torch.load(checkpoint, weights_only=False)["loops"]["fit_loop"]["state_dict"]["combined_loader"][0]
    for rank in range(3):
        loader = make(train, kind, 4, rank=rank, world_size=3)
        loader.load_state_dict(state)
        again = recorder()
        fit(again, loader, tmp_path / "again", 1, checkpoint)
        seen += [ids for _, ids in again.seen]
    assert set(flat(seen)) == set(codes)
    assert len(flat(seen)) - len(codes) < 3
