"""Makes and tallies a user study: `videogen compare A B --out page`, `… --tally FILE...`."""

import json
from functools import partial
from pathlib import Path

import tyro

from videogen_jax.atomic import replacing
from videogen_jax.cli import command
from videogen_jax.errors import UserError
from videogen_jax.evaluation.study.page import write_study


def main(
    a_folder: tyro.conf.Positional[Path | None] = None,
    b_folder: tyro.conf.Positional[Path | None] = None,
    /,
    out: Path | None = None,
    seed: int = 0,
    names: tuple[str, str] | None = None,
    embed: bool = True,
    tally: tuple[Path, ...] = (),
) -> None:
    """Writes a page on which people compare two folders of videos, or tallies their votes (§4.4).

    The page asks the paper's two questions about every pair of videos of the same file name, in
    random order and on random sides. Its key, OUT-key.json, says which video is whose: keep it.

    Args:
        a_folder: folder of videos (.mp4, .webm, .gif, .webp), with prompts in manifest.jsonl or
            in a .txt beside each.
        b_folder: folder of videos with the same names.
        out: new folder for the page, index.html; with --tally, a folder for tally.json and
            tally.png.
        seed: of order and sides.
        names: what A and B are called in the tally; by default the names of their folders.
        embed: put the videos into the page; --no-embed copies them beside it.
        tally: the key and the files that the page saved, in any order.
    """
    if tally:
        if a_folder is not None:
            raise UserError("folders and --tally are both given; expected one of them")
        _tally(tally, out)
        return
    if a_folder is None or b_folder is None or out is None:
        raise UserError("expected two folders of videos and --out, or --tally FILE...")
    study = write_study(a_folder, b_folder, out, seed=seed, names=names, embed=embed)
    print(f"{study.page}: {study.pairs} pairs; for the annotators")
    print(f"{study.key}: which video is whose; for --tally, not for the annotators")


def _tally(files: tuple[Path, ...], out: Path | None) -> None:
    from videogen_jax.evaluation.study.plot import save_plot
    from videogen_jax.evaluation.study.tally import tally_votes

    result = tally_votes(files)
    print(result.table())
    if out is None:
        return
    with replacing(out / "tally.json") as temporary:
        temporary.write_text(json.dumps(result.to_dict(), indent=1, ensure_ascii=False) + "\n")
    save_plot(result, out / "tally.png")
    print(f"\n{out / 'tally.json'}\n{out / 'tally.png'}")


call = partial(command, main)
