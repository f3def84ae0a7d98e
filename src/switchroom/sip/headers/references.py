"""References to a dialog: Replaces (RFC 3891), Join (RFC 3911), Target-Dialog (RFC 4538)."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import ParseError
from ..grammar import NO_PARAMS, Params, checked_token, excerpt, is_token, split_params
from .tokens import checked_call_id, parse_call_id


class Replaces(NamedTuple):
    """The dialog that a new one takes the place of; the tags are as the recipient of the request sees them."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False
    params: Params = NO_PARAMS
    """The parameters that no field holds."""

    def __str__(self) -> str:
        flag = ";early-only" if self.early_only else ""
        return _render(self.call_id, "to-tag", self.to_tag, "from-tag", self.from_tag) + flag + str(self.params)


class Join(NamedTuple):
    """The dialog that a new one is to be joined with; the tags are as the recipient of the request sees them."""

    call_id: str
    to_tag: str
    from_tag: str
    params: Params = NO_PARAMS
    """The parameters that no field holds."""

    def __str__(self) -> str:
        return _render(self.call_id, "to-tag", self.to_tag, "from-tag", self.from_tag) + str(self.params)


class TargetDialog(NamedTuple):
    """The dialog that entitles a request outside of it; local and remote are as the recipient sees them (§7)."""

    call_id: str
    local_tag: str
    remote_tag: str
    params: Params = NO_PARAMS
    """The parameters that no field holds."""

    def __str__(self) -> str:
        return _render(self.call_id, "local-tag", self.local_tag, "remote-tag", self.remote_tag) + str(self.params)


def _render(call_id: str, first: str, one: str, second: str, two: str) -> str:
    return f"{checked_call_id(call_id)};{first}={checked_token(one)};{second}={checked_token(two)}"


def _split(text: str, first: str, second: str) -> tuple[str, str, str, Params]:
    call_id, params = split_params(text)
    one, two = params.get(first), params.get(second)
    if not one or not two or not is_token(one) or not is_token(two):
        raise ParseError(f"a reference to a dialog needs {first} and {second}: {excerpt(text)}")
    return parse_call_id(call_id), one, two, params.without(first).without(second)


def parse_replaces(text: str) -> Replaces:
    """Parse `callid *(SEMI replaces-param)`; ParseError unless it has exactly one to-tag and one from-tag."""
    call_id, to_tag, from_tag, params = _split(text, "to-tag", "from-tag")
    return Replaces(call_id, to_tag, from_tag, "early-only" in params, params.without("early-only"))


def parse_join(text: str) -> Join:
    """Parse `callid *(SEMI join-param)`; ParseError unless it has exactly one to-tag and one from-tag."""
    return Join(*_split(text, "to-tag", "from-tag"))


def parse_target_dialog(text: str) -> TargetDialog:
    """Parse `callid *(SEMI td-param)`; ParseError unless it has exactly one local-tag and one remote-tag."""
    return TargetDialog(*_split(text, "local-tag", "remote-tag"))
