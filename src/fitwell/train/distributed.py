"""One training in several processes, which `torchrun` started: each computes its share of every batch.

Every process draws the whole batch, augmentation and all, by seed, epoch and step, and keeps its rows.
Gradients are averaged by PyTorch's `DistributedDataParallel` (Li et al. 2020, PVLDB 13), so that all
make the same step; the first process alone evaluates, decides, writes and prints. Of a training in one
process (`ALONE`) nothing of this is felt.
"""

import atexit
import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fitwell import launched
from fitwell.data.batches import Batches
from fitwell.errors import DataError, FitwellError, SettingError, TrainingError, going_on
from fitwell.train.machine import choose_device

Result = TypeVar("Result")
# So long a process waits for the others, of which the first may decode a large data set meanwhile. One
# that dies is noticed at once: its connections close, and torchrun stops the others.
TIMEOUT = timedelta(hours=2)


@dataclass(frozen=True)
class Processes:
    """Those that train together, seen from one of them.

    Args:
        rank: the number of this one.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this one evaluates, decides, writes and prints."""
        return self.rank == 0

    def mine(self, of_batch: Tensor) -> Tensor:
        """This process's rows of a tensor of the whole batch."""
        return of_batch if self.count == 1 else of_batch[self.rows(len(of_batch))]

    def rows(self, examples: int) -> slice:
        """This process's rows of a batch; none, where there are fewer rows than processes.

        >>> [Processes(rank, 3).rows(5) for rank in range(3)]
        [slice(0, 1, None), slice(1, 3, None), slice(3, 5, None)]
        """
        return slice(self.rank * examples // self.count, (self.rank + 1) * examples // self.count)

    def parallel(self, model: nn.Module, batches: Batches) -> nn.Module:
        """The model as it is called in the steps of an epoch: its gradient is the mean of all processes'.

        Each epoch starts from the weights of the first process, and knows which layers stand still in it.
        """
        if self.count == 1:
            return model
        unused = _leaves_out(model, batches.first(2).x)
        return DistributedDataParallel(model, find_unused_parameters=unused)

    def mean(self, values: Tensor, normaliser: float) -> tuple[Tensor, Tensor]:
        """What is minimised here, and the loss of the whole batch.

        Formula: loss = sum of all processes' values / sum of their normalisers. The gradient is the mean
            over the processes, so each minimises count x its values' sum / sum of the normalisers.
        """
        if self.count == 1:
            loss = values.sum() / normaliser
            return loss, loss
        total = values.sum()
        sums = torch.stack([total.detach().double(), total.new_tensor(normaliser).double()])
        dist.all_reduce(sums)
        return total * (self.count / sums[1]).to(total.dtype), (sums[0] / sums[1]).float()

    def draw_apart(self, seed: int, step: int) -> None:
        """Random numbers (dropout) of this process's own, by seed and step: no checkpoint needs to hold
        those of every process."""
        if self.count > 1:
            drawn = np.random.SeedSequence([seed % 2**63, step, self.rank]).generate_state(1)
            torch.manual_seed(int(drawn[0]))

    def any(self, answer: bool) -> bool:
        """Whether one of them says yes."""
        if self.count == 1:
            return answer
        answers = torch.tensor([float(answer)])
        dist.all_reduce(answers)
        return bool(answers.item())

    def meet(self) -> None:
        """Wait until all are here."""
        self.any(False)

    def first(self, work: Callable[[], Result]) -> Result:
        """What the first process gets from `work`, for all of them; its error is an error of all."""
        if self.count == 1:
            return work()
        return self._told(_tried(work) if self.leads else None)

    def in_turn(self, work: Callable[[], Result]) -> Result:
        """What each gets from `work`; the first one before the others, which find what it downloaded and
        decoded. An error of one is an error of all."""
        if self.count == 1:
            return work()
        done = _tried(work) if self.leads else None
        self._told((None, done[1]) if done else None)
        done = done or _tried(work)
        errors: list[FitwellError | None] = [None] * self.count
        dist.all_gather_object(errors, done[1])
        for error in errors:
            if error is not None:
                raise error
        return done[0]

    def _told(self, done: tuple[Result, FitwellError | None] | None) -> Result:
        said = [done]
        dist.broadcast_object_list(said, src=0, device=torch.device("cpu"))
        assert said[0] is not None
        result, error = said[0]
        if error is not None:
            raise error
        return result


ALONE = Processes()


def join() -> Processes:
    """The processes that `torchrun` started, or `ALONE`.

    They stay in touch until this one ends. A program that has called `init_process_group` itself keeps
    its own group.

    Raises:
        SettingError: PyTorch is built without `torch.distributed`.
    """
    if launched.num_processes() == 1:
        return ALONE
    if not dist.is_available():
        raise SettingError("This PyTorch has no torch.distributed. Train without torchrun.")
    if not dist.is_initialized():
        gpus = torch.cuda.is_available() and dist.is_nccl_available()
        if gpus and launched.rank_here() < torch.cuda.device_count():
            torch.cuda.set_device(launched.rank_here())
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=TIMEOUT)
        atexit.register(_leave)
    return Processes(dist.get_rank(), dist.get_world_size())


def threads_of(processes: Processes, asked: int) -> int:
    """Processor threads of each; unless so many are asked for, the processes of a machine share its cores.

    torchrun alone gives each one thread. 0 leaves it as it is.
    """
    if asked or processes.count == 1:
        return asked
    return max(1, launched.num_cores() // launched.num_here())


def check_device(processes: Processes, name: str) -> None:
    """Refuse a `train.device` that is not one for each process.

    Raises:
        SettingError: fewer GPUs than processes, one GPU for all of them, or an accelerator that cannot
            be used by several.
    """
    if processes.count == 1:
        return
    device, here = choose_device(name), launched.num_here()
    if device.type == "cuda" and device.index is None and here <= torch.cuda.device_count():
        return
    if device.type == "cpu":
        return
    raise SettingError(
        f"train.device = {name}: each of the {here} processes on this machine needs a GPU of its own, or "
        "all of them the processor. Set train.device=cuda and start as many processes as there are GPUs "
        f"({torch.cuda.device_count()}), or train.device=cpu.",
        setting="train.device",
    )


def check_state(processes: Processes, state: str) -> None:
    """Refuse to carry a recurrent state, of which a checkpoint would keep one process's part.

    Raises:
        SettingError: it is to be carried, and there are several.
    """
    if processes.count > 1 and state == "carried":
        raise SettingError(
            "train.state = carried: is of one process, and several train together. Set train.state=reset.",
            setting="train.state",
        )


def check_same(processes: Processes, data: str, recipe: Mapping[str, Any]) -> None:
    """Refuse processes that were given different things, as by a program that draws its data by chance.

    Args:
        data: its hash.

    Raises:
        DataError: data or recipe of one differ from the first one's.
    """
    mine = (data, dict(recipe))
    theirs = processes.first(lambda: mine)
    for place, what in enumerate(("data", "recipe")):
        if processes.any(mine[place] != theirs[place]):
            raise DataError(
                f"The {processes.count} processes were given different {what}: each has to make the same "
                "of it. Seed what is drawn at random, and let nothing depend on the process."
            )


@contextmanager
def losing_none(processes: Processes, folder: Path) -> Iterator[None]:
    """Say so where another process has ended: what torch raises then names a file and line of Gloo."""
    try:
        yield
    except RuntimeError as error:
        if processes.count == 1 or not _lost(error):
            raise
        why = str(error).strip().split("\n")[0]
        raise TrainingError(
            f"Another of the {processes.count} processes has ended, or cannot be reached any more "
            f"({why}). What was saved before is whole. Go on with: torchrun ... -m {going_on(folder)}",
            where=str(folder),
        ) from None


def _leaves_out(model: nn.Module, x: Tensor) -> bool:
    """Whether some weights have no part in what the model says, as those of a layer that is not called."""
    model = copy.deepcopy(model).train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    with torch.random.fork_rng():
        said = model(x).float().sum()
    return None in torch.autograd.grad(said, weights, allow_unused=True)


def _lost(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error)


def _tried(work: Callable[[], Result]) -> tuple[Result, FitwellError | None]:
    try:
        return work(), None
    except FitwellError as error:
        return None, error  # type: ignore[return-value]


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
