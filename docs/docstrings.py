"""Docstrings as the reference shows them, from how this package writes them."""

import re

import griffe


class Docstrings(griffe.Extension):
    """Turns "Example:" and "Call arguments:" into sections that griffe knows."""

    def on_object(self, *, obj, **_):
        """Change a docstring before it is parsed."""
        if obj.docstring:
            obj.docstring.value = rewrite(obj.docstring.value)


def rewrite(text):
    """The same docstring with sections of griffe's names."""
    text = re.sub(r"^Call arguments:$", "Other Args: Call arguments", text, flags=re.MULTILINE)
    text = re.sub(r"^(Source|Example|Input shape): ", r"**\1:** ", text, flags=re.MULTILINE)
    text = text.replace(" Output shape: ", " **Output shape:** ")
    before, found, example = text.partition("\nExample:\n")
    if found:
        lines = example.strip("\n").splitlines()
        indent = "" if lines[0].startswith(" ") else "    "
        text = before + "\nExamples:\n" + "\n".join((indent + line).rstrip() for line in lines)
    return text
