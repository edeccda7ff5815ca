"""Where trials run: the executor that was asked for by name."""

from dataclasses import dataclass
from pathlib import Path

from fitwell.data.types import Data
from fitwell.errors import SettingError, did_you_mean
from fitwell.recipe import Recipe
from fitwell.trials.executor import LocalExecutor
from fitwell.trials.on_ray import RayExecutor, check_ray

NAMES = ("local", "ray")


@dataclass(frozen=True)
class Where:
    """What was asked for.

    Args:
        executor: one of `NAMES`.
        address: of the cluster, see `RayExecutor`.
    """

    executor: str = "local"
    address: str = ""

    def check(self) -> "Where":
        """Itself, where there is such an executor.

        Raises:
            SettingError: no such name, one that is not installed, an address for none, or one where nobody
                listens.
        """
        if self.executor not in NAMES:
            raise SettingError(
                f"executor = {self.executor}: there is no such executor."
                f"{did_you_mean(self.executor, NAMES)} Choose one of: {', '.join(NAMES)}.",
                setting="executor",
            )
        if self.address and self.executor == "local":
            raise SettingError(
                f"address = {self.address}: trials on this machine have no address. Say --executor ray "
                "too, or leave it out.",
                setting="address",
            )
        if self.executor == "ray":
            check_ray(self.address)
        return self


HERE = Where()


def open_executor(
    data: Data, recipe: Recipe, folder: Path, where: Where = HERE, *, trials: int = 0
) -> LocalExecutor | RayExecutor:
    """The executor, started; a context manager.

    Args:
        recipe: which says how many threads a trial has.
        folder, trials: as for `LocalExecutor`.
    """
    threads = int(recipe["train.threads"])  # type: ignore[arg-type]
    if where.executor == "ray":
        return RayExecutor(data, folder, address=where.address, threads=threads)
    return LocalExecutor(data, folder, threads=threads, trials=trials)
