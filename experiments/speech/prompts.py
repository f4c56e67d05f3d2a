#!/usr/bin/env python3
"""prompts.py - Debian's asterisk-core-sounds-{en,es,fr,it,ru}-wav as data for task "speech": the prompts of a telephone exchange, 8 kHz, the same
texts spoken in five languages.

    experiments/speech/prompts.py                  # apt-get download of the five packages (98 MB), dpkg -x, manifests
    experiments/speech/prompts.py FOLDER           # the .deb files lie in FOLDER already

Writes experiments/speech/data/prompts/: the recordings and
  language.csv    path,label,group  label: en es fr it ru; group: the prompt, so that no text is in two splits
  voice.csv       en and es only: both are spoken by Allison Smith, so what is told apart is not the speaker
Prompts that are there in all the languages of a manifest only; folders silence/ (no speech) and the tones beep, beeperr are left out.
The prompts are CC BY-SA 3.0 (it, ru: CC BY 3.0); who spoke them: /usr/share/doc/*/copyright of the packages. Only Python's
standard library is used. Prints the SHA-256 of each package: README.md has those of which results are reported.
"""
import csv, glob, hashlib, os, subprocess, sys, tempfile

LANGUAGES = ["en", "es", "fr", "it", "ru"]
SPOKEN_BY_ONE = ["en", "es"]


def packages(folder):
    for language in LANGUAGES:
        name = f"asterisk-core-sounds-{language}-wav"
        if not glob.glob(os.path.join(folder, name + "_*.deb")):
            subprocess.run(["apt-get", "download", "-q", name], cwd=folder, check=True)
        (package,) = glob.glob(os.path.join(folder, name + "_*.deb"))
        print(hashlib.sha256(open(package, "rb").read()).hexdigest(), os.path.basename(package))
        yield language, package


def unpack(package, to):
    """The recordings of a package in a folder of their own: prompt -> path."""
    subprocess.run(["dpkg", "-x", package, to], check=True)
    (voice,) = glob.glob(os.path.join(to, "usr/share/asterisk/sounds/*_*_*"))
    files = {}
    for path, _, names in os.walk(voice):
        for name in names:
            prompt = os.path.relpath(os.path.join(path, name), voice)
            if name.endswith(".wav") and not prompt.startswith("silence/") and name not in ("beep.wav", "beeperr.wav"):
                files[prompt[:-4]] = os.path.join(path, name)
    return files


def manifest(out, name, found, languages):
    common = sorted(set.intersection(*(set(found[language]) for language in languages)))
    with open(os.path.join(out, name), "w", newline="") as f:
        rows = csv.writer(f, lineterminator="\n")
        rows.writerow(["path", "label", "group"])
        for prompt in common:
            for language in languages:
                rows.writerow([os.path.relpath(found[language][prompt], out), language, prompt])
    print(f"{os.path.join(out, name)}: {len(common)} prompts in {', '.join(languages)}")


def main():
    out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "prompts")
    os.makedirs(out, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = {language: unpack(package, os.path.join(out, language)) for language, package in packages(sys.argv[1] if len(sys.argv) > 1 else folder)}
    manifest(out, "language.csv", found, LANGUAGES)
    manifest(out, "voice.csv", found, SPOKEN_BY_ONE)


if __name__ == "__main__":
    main()
