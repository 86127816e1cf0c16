"""What operations need from the outside, as small Protocols.

Sets of rows travel as `pyarrow.Table`; each docstring names the columns. Adapters implement these;
what tests need beside them is in `uptake.testing`.
"""

from uptake.ports.adoption import (
    Build,
    Check,
    LogProfiler,
    Protects,
    Snapshot,
    Snapshots,
    Status,
    SuiteRunner,
    Transformer,
)
from uptake.ports.journeys import Advance, Entry, Journeys, Playbooks
from uptake.ports.ledger import (
    Claimed,
    Delivery,
    Enrollments,
    Gates,
    Ledger,
    People,
    ReadBatch,
    Run,
    Runs,
    Sends,
    StoredBatch,
    Tasks,
)
from uptake.ports.machine import Clock, Keys
from uptake.ports.mail import (
    DeliveryEvents,
    Links,
    LoggedMail,
    MailBatch,
    Mailer,
    MailLog,
    MergeFields,
    Recipient,
    Rendered,
    SuppressionLists,
    Witness,
    Words,
)
from uptake.ports.privacy import Erasures, FilesRedacted, MailEraser, PersonalFiles
from uptake.ports.proof import Evidence, Pages, ValueReport
from uptake.ports.releases import ENGINE, ENGINE_NAMES, Approved, Audience, ControlState, Forgotten, Plan, Releases
from uptake.ports.tasks import TaskReceiver

__all__ = [
    "ENGINE",
    "ENGINE_NAMES",
    "Advance",
    "Approved",
    "Audience",
    "Build",
    "Check",
    "Claimed",
    "Clock",
    "ControlState",
    "Delivery",
    "DeliveryEvents",
    "Enrollments",
    "Entry",
    "Erasures",
    "Evidence",
    "FilesRedacted",
    "Forgotten",
    "Gates",
    "Journeys",
    "Keys",
    "Ledger",
    "Links",
    "LogProfiler",
    "LoggedMail",
    "MailBatch",
    "MailEraser",
    "MailLog",
    "Mailer",
    "MergeFields",
    "Pages",
    "People",
    "PersonalFiles",
    "Plan",
    "Playbooks",
    "Protects",
    "ReadBatch",
    "Recipient",
    "Releases",
    "Rendered",
    "Run",
    "Runs",
    "Sends",
    "Snapshot",
    "Snapshots",
    "Status",
    "StoredBatch",
    "SuiteRunner",
    "SuppressionLists",
    "TaskReceiver",
    "Tasks",
    "Transformer",
    "ValueReport",
    "Witness",
    "Words",
]
