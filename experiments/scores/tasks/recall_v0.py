"""SQuAD completion and SWDE as version 0 of the harness's tasks had them, which the Hymba paper used: texts and values are not
stripped. SQuAD with one example before the question; the rest is the harness's own class."""

from lm_eval.tasks.squad_completion.task import SQUADCompletion as Stripped
from lm_eval.tasks.swde.task import SWDE as StrippedSWDE


class SQUADCompletion(Stripped):
    VERSION = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.set_config("task", "squad_completion_v0")
        self.set_config("num_fewshot", 1)

    def doc_to_text(self, doc):
        return doc["text"]

    def doc_to_target(self, doc):
        return doc["value"]


class SWDE(StrippedSWDE):
    VERSION = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.set_config("task", "swde_v0")

    def doc_to_text(self, doc):
        return doc["text"]

    def doc_to_target(self, doc):
        return doc["value"]
