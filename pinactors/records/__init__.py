"""Records: what analyses, people and keys leave behind."""

from pinactors.records.analyses import AnalysisRecord, StoredStream
from pinactors.records.database import RecordsUnavailable
from pinactors.records.deliveries import ClaimedDelivery, DeliveryTally
from pinactors.records.feedback import Confirmation, ProvisionalPin
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
    "ProvisionalPin",
    "RecordRow",
    "Records",
    "RecordsUnavailable",
    "SchemaTooNew",
    "StoredStream",
    "TokenUse",
]
