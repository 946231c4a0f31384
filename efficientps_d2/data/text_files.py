"""Text, JSON and XML of others, whose damage becomes one sentence."""

import json
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from efficientps_d2_runtime.errors import InputError


def load_text(file: Path) -> str:
    """The UTF-8 text of a file, with or without byte order mark."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not in UTF-8 ({error}); save it in UTF-8.") from error


def load_json(file: Path):
    try:
        return json.loads(load_text(file))
    except RecursionError as error:
        raise InputError(f"{file} is nested too deeply; export it again.") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{file} is not valid JSON ({error}); export it again.") from error
    except InputError:
        raise
    except ValueError as error:  # an integer of more digits than Python converts
        raise InputError(f"{file} holds an absurd number ({error}); repair it.") from error


def load_xml(file: Path) -> Element:
    """The root of an XML file; entities, which could read other files, are refused."""
    try:
        return defusedxml.ElementTree.parse(file).getroot()
    except DefusedXmlException as error:
        raise InputError(
            f"{file} defines XML entities; remove them, no tool needs them."
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise InputError(f"{file} is not valid XML ({error}); export it again.") from error
