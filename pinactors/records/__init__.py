"""The records in the database: analyses with their packets, feedback, API keys, tokens, and events for
webhooks.

Input: finished sessions, feedback and keys. Output: packets that can be read again, lists, and events to be
sent. Nothing else touches these tables; `Records` is the interface.
"""

from pinactors.records.analyses import AnalysisRecord, StoredStream
from pinactors.records.database import RecordsUnavailable
from pinactors.records.deliveries import ClaimedDelivery, DeliveryTally
from pinactors.records.feedback import Confirmation, UnconfirmedAnalysis
from pinactors.records.keys import KeyInfo
from pinactors.records.listing import Filter, RecordRow
from pinactors.records.migrations import SchemaTooNew
from pinactors.records.records import Records
from pinactors.records.tokens import TokenUse

__all__ = [
    "AnalysisRecord",
    "ClaimedDelivery",
    "Confirmation",
    "DeliveryTally",
    "Filter",
    "KeyInfo",
    "RecordRow",
    "Records",
    "RecordsUnavailable",
    "SchemaTooNew",
    "StoredStream",
    "TokenUse",
    "UnconfirmedAnalysis",
]
