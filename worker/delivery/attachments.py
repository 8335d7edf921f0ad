"""The note and the files of a delivery: on its lead, else on what is left of the lead.

Each step checks whether it is done already, does it if not, and records it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from worker.contract import Json
from worker.delivery.context import DeliveryRun
from worker.delivery.create_or_label import read_open_lead
from worker.delivery.refused import find_stale_ids
from worker.delivery.unknown_outcome import NOTE_TARGETS, NoteTarget, note_targets
from worker.errors import Gone, Refused
from worker.lead.uploads import UploadedFile
from worker.pipedrive.request_bodies import (
    file_body,
    note_body,
)


def add_note(run: DeliveryRun) -> None:
    """Add the one note of the submission: to its lead, else to what is left of it.

    A person may have converted or deleted the lead by now. It is not created again, because that
    would make a second one; the attempt says where the note went.
    """
    content = run.plan.note_for(run.result)
    if content is None or run.note_id is not None or run.lead_id is None:
        return
    note_id = _add_to_lead(
        run, "note", lambda target: _create_note(run, note_body(content, **target))
    )
    run.record_facts("note", note_id=note_id)


def _add_to_lead(run: DeliveryRun, step: str, create: Callable[[NoteTarget], int]) -> int:
    """Create a note or a file on the lead, else on what is left of it.

    What follows goes to the same place. Raises `Refused` if it is the note or the file that was
    refused, or if nothing is left.
    """
    refusal: Refused | None = None
    targets = [run.moved_to] if run.moved_to else note_targets(run, run.lead_id or "")
    for target in targets:
        try:
            created = create(target)
        except Refused as error:
            if not _is_target_refused(run, error, target):
                # No id was refused: nothing is resolved afresh.
                error.sent_ids = {}
                raise
            refusal = error
            continue
        if refusal is not None:
            run.moved_to = target
        if run.moved_to is not None:
            [(field, value)] = target.items()
            place = f"{NOTE_TARGETS[field]} {value}"
            run.record_attempt(step, "moved", f"the lead is gone: added to the {place}")
        return created
    assert refusal is not None
    raise refusal


def _create_note(run: DeliveryRun, body: Json) -> int:
    return run.create("note", lambda: run.pipedrive.notes.add(body)).id


def _is_target_refused(run: DeliveryRun, error: Refused, target: NoteTarget) -> bool:
    """Return whether a note or file was refused because what it was to be added to is gone.

    Without a reason, the lead is read again.
    """
    [field] = target
    if error.field is not None or isinstance(error, Gone):
        return error.field in (None, field)
    if field != "lead_id":
        return True
    if run.lead_id is None or not find_stale_ids(error, ()):
        return False
    return read_open_lead(run, run.lead_id) is None


def attach_files(run: DeliveryRun) -> None:
    """Attach the files that were posted, one after another, to the lead or what is left of it.

    A file that Pipedrive refuses, for its size or the account's space, is left out: the lead is
    there already.
    """
    if run.lead_id is None:
        return
    for number, upload in enumerate(run.uploads[run.files_done :], run.files_done + 1):
        try:
            _add_to_lead(run, "file", partial(_create_file, run, upload))
        except Refused as error:
            run.record_attempt("file", "left out", f"file {number}: {error.code}")
            run.record_facts("", files_done=number)
        else:
            run.record_facts("file", files_done=number)


def _create_file(run: DeliveryRun, upload: UploadedFile, target: NoteTarget) -> int:
    return run.create("file", lambda: run.pipedrive.files.add(file_body(upload, **target))).id
