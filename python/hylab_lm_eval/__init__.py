"""hylab as a model of lm-evaluation-harness: every task of the package ``lm_eval`` runs on a hylab model.

    python3 -m hylab_lm_eval --model hylab --model_args path=models/SmolLM2-135M --tasks piqa,arc_easy

takes the arguments of the command ``lm_eval``, which knows only the models of its own package; in Python
``import hylab_lm_eval`` is enough for ``lm_eval.simple_evaluate(model="hylab", ...)``. The work is done by the program,
``hylab score``, as a child process: neither torch nor transformers is needed. Arguments (``--model_args``):

    path          a checkpoint (.safetensors) or a published folder
    tokenizer     tokenizer.json, SentencePiece model, folder or "bytes" (default: the folder's own)
    max_length, prefix_token_id, threads, weights, precision, device, isa, seed: the options of ``hylab score``
    program       another program than the one of the package ``hylab`` (or $HYLAB)
"""

import json
import os
import subprocess
import tempfile
import threading

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

__all__ = ["HylabLM", "Scorer", "main"]


class Scorer:
    """The program ``hylab score`` as a child process: requests in, answers out, in one order."""

    def __init__(self, command):
        self._errors = tempfile.TemporaryFile()
        try:
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, encoding="utf-8"
            )
        except OSError as e:
            raise RuntimeError(f"{command[0]} cannot be run: {e}") from None

    def _failed(self):
        """What the program said before it ended."""
        code = self._child.wait()
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip()
        return RuntimeError(said or f"hylab score ended with status {code} and no answer")

    def _write(self, requests):
        try:
            for r in requests:
                self._child.stdin.write(json.dumps(r) + "\n")
            self._child.stdin.write("\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: the reader tells why

    def ask(self, requests):
        """Yields the answer of each request, as it comes."""
        requests = list(requests)
        if self._child.stdin.closed:
            raise RuntimeError("hylab score has ended")
        writer = threading.Thread(target=self._write, args=(requests,), daemon=True)
        writer.start()  # beside the reader: both pipes may be full
        for _ in requests:
            line = self._child.stdout.readline()
            if not line:
                raise self._failed()
            yield json.loads(line)
        writer.join()

    def close(self):
        for pipe in (self._child.stdin, self._child.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        self._child.wait()
        self._errors.close()


def _program():
    if os.environ.get("HYLAB"):
        return os.environ["HYLAB"]
    try:
        import hylab

        return str(hylab.program_path())
    except Exception:  # the package is not installed: the program on the PATH
        return "hylab"


_OPTIONS = {  # of --model_args: of hylab score
    "tokenizer": "--tokenizer",
    "max_length": "--max-length",
    "prefix_token_id": "--prefix-token",
    "threads": "--threads",
    "weights": "--weights",
    "precision": "--precision",
    "isa": "--isa",
    "seed": "--seed",
}


@register_model("hylab")
class HylabLM(LM):
    """``--model hylab --model_args path=...``. The harness's ``batch_size``, above 1, is how many sequences run at a time."""

    def __init__(self, path=None, program=None, batch_size=None, max_batch_size=None, device=None, **options):
        super().__init__()
        if not path:
            raise ValueError("hylab: --model_args path=MODEL is wanted: a checkpoint or a published folder")
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise ValueError(
                f"hylab: there is no argument {', '.join(unknown)}; there are path, program, device, "
                + ", ".join(_OPTIONS)
            )
        self.path = str(path)
        command = [program or _program(), "score", self.path]
        for name, option in _OPTIONS.items():
            if options.get(name) is not None:
                command += [option, str(options[name])]
        if str(batch_size).isdigit() and int(batch_size) > 1:  # 1 is the harness's default; answers do not depend on it
            command += ["--batch", str(batch_size)]
        # The command's default, whoever computes: the first GPU where there is one, which is hylab's own default.
        if device not in (None, "cuda", "cuda:0"):
            command += ["--device", str(device)]
        self._scorer = Scorer(command)

    def close(self):
        self._scorer.close()

    @property
    def tokenizer_name(self):
        return self.path.replace("/", "__")

    def get_model_info(self):
        return {"model": self.path}

    def _ask(self, name, requests, make, read, disable_tqdm):
        from tqdm import tqdm

        args = [r.args for r in requests]
        answers = self._scorer.ask([{"request": name, **make(*a)} for a in args])
        out = []
        for a, answer in zip(args, tqdm(answers, total=len(args), desc=f"hylab: {name}", disable=disable_tqdm)):
            out.append(read(answer))
            self.cache_hook.add_partial(name, a, out[-1])
        return out

    def loglikelihood(self, requests, disable_tqdm=False):
        return self._ask(
            "loglikelihood",
            requests,
            lambda context, continuation: {"context": context, "continuation": continuation},
            lambda a: (a["loglikelihood"], a["is_greedy"]),
            disable_tqdm,
        )

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        return self._ask(
            "loglikelihood_rolling",
            requests,
            lambda text: {"text": text},
            lambda a: a["loglikelihood"],
            disable_tqdm,
        )

    def generate_until(self, requests, disable_tqdm=False):
        return self._ask(
            "generate_until",
            requests,
            lambda context, gen_kwargs: {"context": context, "gen_kwargs": gen_kwargs},
            lambda a: a["text"],
            disable_tqdm,
        )


def main():
    """The command of the harness, with the model "hylab" beside its own."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
