"""What documents say in the operator's own first language: names of lines and bookings."""

from typing import Final

from settlement.documents import Language

PHRASES: Final = {
    Language.EN: {
        "data": "{name}: data",
        "voice": "{name}: voice",
        "message": "{name}: messages",
        "period": "{name}: price of a period or code",
        "fee": "{name}: cancellation fees",
        "shortfall-line": "Commitment not met",
        "credited": "Usage report, entry {entry}",
        "upheld": "Dispute {dispute} was upheld: {cause}",
        "entry": "entry {first}",
        "entries": "entries {first}–{last}",
        "invoice": "invoice {number}",
        "charged": "usage charged to us",
        "escrow": "from escrow, {entries}",
        "credit": "credit, dispute {dispute}",
        "award": "award paid, {entries}",
        "netted": "netting, cycle {cycle}",
        "paid": "payment, {entries}",
        "shortfall": "commitment not met, deal {source}",
        "rebate": "rebate, deal {source}",
        "netting": "netting, new debt of cycle {source}",
        "unstated": "Address and registration are not stated here of: {names}.",
        "not-stated": "not stated",
        "reg": "{operator} on {origin}",
    },
    Language.RU: {
        "data": "{name}: передача данных",
        "voice": "{name}: голос",
        "message": "{name}: сообщения",
        "period": "{name}: цена периода или кода",
        "fee": "{name}: плата за отмену",
        "shortfall-line": "Невыполненное обязательство по объёму",
        "credited": "Отчёт об услугах, запись {entry}",
        "upheld": "Спор {dispute} решён в пользу покупателя: {cause}",
        "entry": "запись {first}",
        "entries": "записи {first}–{last}",
        "invoice": "счёт {number}",
        "charged": "начислено нам за услуги",
        "escrow": "из эскроу, {entries}",
        "credit": "кредит-нота, спор {dispute}",
        "award": "выплата по спору, {entries}",
        "netted": "неттинг, цикл {cycle}",
        "paid": "оплата, {entries}",
        "shortfall": "недобор по сделке {source}",
        "rebate": "скидка по сделке {source}",
        "netting": "неттинг, новый долг цикла {source}",
        "unstated": "Адрес и регистрация здесь не указаны: {names}.",
        "not-stated": "не указано",
        "reg": "{operator} в {origin}",
    },
}


def say(language: Language, key: str, **values: object) -> str:
    """A phrase with its values."""
    return PHRASES[language][key].format(**values)


def say_entries(language: Language, first: int | None, last: int | None) -> str:
    """One entry of the ledger, or the first and last of several."""
    return say(language, "entry" if first == last else "entries", first=first, last=last)
