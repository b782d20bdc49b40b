"""The sums of a transfer batch: what `auditControlInfo` must say, worked out from its records."""

from typing import Any

from msgspec import Struct

from settlement.usage.tap3.events import Fields, prices, read_offset, read_time, started, write_offset, write_time


class Totals(Struct):
    """Sums over records, in TAP's decimals. `earliest`, `latest`: (seconds since the epoch, offset in minutes)."""

    count: int = 0
    charge: int = 0
    charge_refund: int = 0
    tax: int = 0
    tax_refund: int = 0
    discount: int = 0
    discount_refund: int = 0
    earliest: tuple[int, int] | None = None
    latest: tuple[int, int] | None = None

    def add(self, kind: str, body: Fields, offsets: dict[int, int]) -> None:
        """Count a record in. `offsets`: minutes from UTC by code."""
        self.count += 1
        for price in prices(kind, body):
            tax = sum(one.get("taxValue", 0) for one in price.taxes)
            discount = (price.discount or {}).get("discount", 0)
            if price.refund:
                self.charge_refund += price.total()
                self.tax_refund += tax
                self.discount_refund += discount
            else:
                self.charge += price.total()
                self.tax += tax
                self.discount += discount
        _, time = started(kind, body)
        offset = offsets.get((time or {}).get("utcTimeOffsetCode", -1))
        if time is not None and offset is not None:
            epoch = read_time(time.get("localTimeStamp", ""), offset)
            if epoch is not None:
                self._widen((epoch, offset), (epoch, offset))

    def _widen(self, earliest: tuple[int, int], latest: tuple[int, int]) -> None:
        self.earliest = earliest if self.earliest is None else min(self.earliest, earliest)
        self.latest = latest if self.latest is None else max(self.latest, latest)

    def merge(self, other: "Totals") -> None:
        """Count in what another process summed."""
        self.count += other.count
        self.charge += other.charge
        self.charge_refund += other.charge_refund
        self.tax += other.tax
        self.tax_refund += other.tax_refund
        self.discount += other.discount
        self.discount_refund += other.discount_refund
        if other.earliest is not None and other.latest is not None:
            self._widen(other.earliest, other.latest)

    def audit(self) -> dict[str, Any]:
        """The sums as `auditControlInfo`."""
        info: dict[str, Any] = {}
        for name, moment in (("earliestCallTimeStamp", self.earliest), ("latestCallTimeStamp", self.latest)):
            if moment is not None:
                info[name] = {"localTimeStamp": write_time(*moment), "utcTimeOffset": write_offset(moment[1])}
        info["totalCharge"] = self.charge
        refunds = {
            "totalChargeRefund": self.charge_refund,
            "totalTaxRefund": self.tax_refund,
            "totalDiscountRefund": self.discount_refund,
        }
        info |= {name: amount for name, amount in refunds.items() if amount}
        return info | {
            "totalTaxValue": self.tax,
            "totalDiscountValue": self.discount,
            "callEventDetailsCount": self.count,
        }


def utc_offsets(header: Fields) -> dict[int, int]:
    """Minutes from UTC by code, of those in `networkInfo` that can be read."""
    found: dict[int, int] = {}
    for entry in header.get("networkInfo", {}).get("utcTimeOffsetInfo", []):
        offset = read_offset(entry.get("utcTimeOffset", ""))
        if offset is not None and "utcTimeOffsetCode" in entry:
            found[entry["utcTimeOffsetCode"]] = offset
    return found
