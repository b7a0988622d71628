"""The shop's orders, read from `data/orders.json`."""

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

ORDERS = Path(__file__).parent / "data" / "orders.json"
STATUS_IN_CHINESE = {"paid": "已付款", "shipped": "已发货", "delivered": "已送达", "cancelled": "已取消"}
REFUNDABLE = frozenset({"paid", "shipped", "delivered"})


@dataclass(frozen=True)
class Line:
    item: str
    quantity: int
    price: Decimal


@dataclass(frozen=True)
class Order:
    id: str
    placed_at: str
    status: str
    currency: str
    carrier: str | None
    tracking: str | None
    lines: tuple[Line, ...]
    demo_timeouts: int

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Order":
        lines = tuple(Line(line["item"], line["quantity"], Decimal(line["price"])) for line in row["lines"])
        columns = {name: row[name] for name in ("id", "placed_at", "status", "currency", "carrier", "tracking")}
        return cls(**columns, lines=lines, demo_timeouts=row.get("demo_timeouts", 0))

    @property
    def total(self) -> Decimal:
        return sum((line.price * line.quantity for line in self.lines), Decimal(0))

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "placed_at": self.placed_at,
            "status": self.status,
            "items": [
                {"item": line.item, "quantity": line.quantity, "price": float(line.price)} for line in self.lines
            ],
            "total": float(self.total),
            "currency": self.currency,
            "carrier": self.carrier,
            "tracking": self.tracking,
        }


def find_order(order_id: str | None, attempt: int = 1) -> Order | None:
    """The order with this number, or the latest one without a number.

    An order with `demo_timeouts` lives in an "archive" that does not answer the first attempts: it shows a retry.
    """
    orders = [Order.from_row(row) for row in json.loads(ORDERS.read_text(encoding="utf-8"))]
    if order_id is None:
        return max(orders, key=lambda order: order.placed_at)
    order = next((order for order in orders if order.id == order_id.strip().lstrip("#")), None)
    if order and attempt <= order.demo_timeouts:
        raise TimeoutError(f"The order archive did not answer for order {order.id}.")
    return order
