"""Names of files and folders made from names that users give: whatever a model or language is called, what is written for it
stays where it belongs."""

from urllib.parse import quote

from xxhash import xxh3_128_hexdigest

from polyneuron.neuron_core.common.errors import StoreError

_MAX_CHARACTERS = 180
"""A folder or file name may have 255 bytes on common file systems; this leaves room for `column=` and suffixes."""


def safe_name(value: str) -> str:
    """`value` as one file name of ASCII letters, digits and `_ - .`, the rest percent-encoded: `Qwen/Qwen3` is
    `Qwen%2FQwen3`. Never empty, never `.` or `..`, never hidden: a leading dot or underscore is encoded too. Different
    values have different names; a name over 180 characters is cut and closed with `~` and a hash. Raises StoreError for an
    empty or unencodable value."""
    if not value:
        raise StoreError(
            "An empty name cannot name a file or folder. Give the model, language or unit a name."
        )
    try:
        name = quote(value, safe="").replace("~", "%7E")
    except UnicodeEncodeError as error:
        raise StoreError(
            f"The name {value!r} is not valid Unicode, so no file can have it. Rename it."
        ) from error
    if name[0] in "._":
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) <= _MAX_CHARACTERS:
        return name
    return f"{name[:_MAX_CHARACTERS]}~{xxh3_128_hexdigest(value.encode())}"
