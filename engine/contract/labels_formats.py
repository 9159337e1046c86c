"""In which forms a labelling set leaves and comes back; what the command line and the window offer of them."""

from typing import Any, Literal

from pydantic import BaseModel

from engine.contract.labels import LabelSet
from engine.contract.settings import STRICT, setting

ExportFormat = Literal["preference", "implicit", "kto", "ranking", "hh", "openrlhf", "argilla", "pick_a_pic", "native"]
ImportFormat = Literal["auto", "preference", "kto", "ranking", "argilla", "pick_a_pic"]
#: Where an exported picture is: its bytes in the table, or a file that the table names.
Pictures = Literal["embedded", "files"]

#: How a set is called and what is asked, declared once in `LabelSet`.
NAME: Any = LabelSet.model_fields["name"]
QUESTION: Any = LabelSet.model_fields["question"]

#: What each format is for.
EXPORTS: dict[str, str] = {
    "preference": "prompt, chosen, rejected and margin, for TRL's DPOTrainer and RewardTrainer",
    "implicit": "chosen and rejected, each with its prompt",
    "kto": "prompt, completion and whether it is wanted, for TRL's KTOTrainer",
    "ranking": "prompt, answers and their ranks",
    "hh": "chosen and rejected as transcripts, as HH-RLHF has them",
    "openrlhf": "prompt, chosen, rejected and margin, for OpenRLHF",
    "argilla": "records with a ranking question, for argilla 2",
    "pick_a_pic": "pictures in Pick-a-Pic's columns: jpg_0, jpg_1, label_0, caption, for Diffusion-DPO's trainers",
    "native": "the set itself, with all that was ever said in it",
}


class Export(BaseModel, **STRICT):
    """How a set is exported."""

    dest: str = setting(help="a new directory", min_length=1)
    format: ExportFormat = setting("preference", "for whom it is written", main=True)
    style: Literal["as-is", "plain", "conversational"] = setting(
        "as-is", "prompts and answers as they are, as text, or as messages", main=True
    )
    file: Literal["jsonl", "parquet"] = setting("jsonl", "JSON Lines, or Parquet", main=True)
    pictures: Pictures = setting("embedded", "of pick_a_pic: pictures within the table, or in files beside it")
    held_out: float = setting(0.0, "share of the prompts that go into a test split; 0 = none", main=True, ge=0, lt=1)
    ties: Literal["drop", "soft"] = setting("drop", "leave ties out, or write them both ways round")
    margin: Literal["none", "small", "large"] = setting(
        "small", "what a strength of 1, 2, 3 asks: 1/3, 2/3, 1 or 1, 2, 3"
    )


class Import(BaseModel, **STRICT):
    """Judgements from elsewhere, as a set of their own."""

    source: str = setting(
        help="file of judgements (.jsonl, .json, .csv, .parquet), or the folder of a set", min_length=1
    )
    name: str = NAME
    question: str = QUESTION
    format: ImportFormat = setting("auto", "form of the rows; auto tells it by the columns", main=True)
