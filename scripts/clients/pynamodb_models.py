"""A library's day through PynamoDB's models: books, members and loans.

Run by scripts/clients.sh with ESKER_ENDPOINT. Every answer is checked; the first wrong one ends the program.
"""

import os
from datetime import datetime, timezone

from pynamodb.attributes import (
    BooleanAttribute, JSONAttribute, ListAttribute, MapAttribute, NumberAttribute, NumberSetAttribute, UnicodeAttribute,
    UnicodeSetAttribute, UTCDateTimeAttribute, VersionAttribute,
)
from pynamodb.connection import Connection
from pynamodb.exceptions import DeleteError, DoesNotExist, PutError, TransactWriteError, UpdateError
from pynamodb.models import Model
from pynamodb.transactions import TransactGet, TransactWrite

from check import equal, refused


class Settings:
    host = os.environ["ESKER_ENDPOINT"]
    region = "us-east-1"
    billing_mode = "PAY_PER_REQUEST"
    # An error of the server must not be hidden by a second try.
    max_retry_attempts = 0


class Address(MapAttribute):
    street = UnicodeAttribute()
    city = UnicodeAttribute(null=True)


class Member(Model):
    class Meta(Settings):
        table_name = "pynamodb-members"

    name = UnicodeAttribute(hash_key=True)
    address = Address()
    since = UTCDateTimeAttribute()
    active = BooleanAttribute(default=True)
    loans = NumberAttribute(default=0)
    interests = UnicodeSetAttribute(null=True)
    version = VersionAttribute()


class Book(Model):
    class Meta(Settings):
        table_name = "pynamodb-books"

    shelf = UnicodeAttribute(hash_key=True)
    number = NumberAttribute(range_key=True)
    title = UnicodeAttribute()
    pages = NumberAttribute()
    lent_to = UnicodeAttribute(null=True)
    ratings = ListAttribute(of=NumberAttribute, default=list)
    years = NumberSetAttribute(null=True)
    notes = JSONAttribute(null=True)


def tables():
    for model in (Member, Book):
        equal("a table before it is made", model.exists(), False)
        model.create_table(wait=True)
        equal("a table after it is made", model.exists(), True)
    equal("the key of books", [key["AttributeName"] for key in Book.describe_table()["KeySchema"]], ["shelf", "number"])


def members():
    """Maps, dates, sets, and versions that guard against lost updates."""
    since = datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=timezone.utc)
    ada = Member("ada", address=Address(street="Ring 1", city="Basel"), since=since, interests={"sea", "stars"})
    ada.save()
    equal("a new version", ada.version, 1)
    read = Member.get("ada", consistent_read=True)
    equal("a member", (read.address.street, read.address.city, read.since, read.active, read.loans, read.interests, read.version),
          ("Ring 1", "Basel", since, True, 0, {"sea", "stars"}, 1))

    ada.update(actions=[Member.address.city.set("Bern"), Member.loans.add(2), Member.interests.delete(["sea"])])
    equal("an updated member", (ada.address.city, ada.loans, ada.interests, ada.version), ("Bern", 2, {"stars"}, 2))
    read.address.city = "Genf"
    refused("a stale save", PutError, read.save, "ConditionalCheckFailedException")
    refused("a stale delete", DeleteError, read.delete, "ConditionalCheckFailedException")
    refused("a stale update", UpdateError, lambda: read.update(actions=[Member.loans.set(0)]), "ConditionalCheckFailedException")
    read.refresh()
    equal("after a refresh", (read.address.city, read.version), ("Bern", 2))
    read.save()
    equal("the version after a save", Member.get("ada").version, 3)
    refused("a member that is not there", DoesNotExist, lambda: Member.get("nobody"))
    refused("a member twice", PutError, lambda: Member("ada", address=Address(street="x"), since=since).save(
        Member.name.does_not_exist()), "ConditionalCheckFailedException")


def books():
    """Batches, queries in pages, filters, counts."""
    with Book.batch_write() as batch:
        for number in range(120):
            batch.save(Book("novels" if number < 90 else "maps", number, title=f"Book {number:03}", pages=100 + number,
                            years={1900 + number, 2000}, notes={"copies": [number, None]}))
    equal("all books", Book.count(), 120)
    equal("novels", Book.count("novels"), 90)
    equal("novels by number", Book.count("novels", Book.number.between(10, 19)), 10)
    paged = Book.query("novels", Book.number >= 5, page_size=20, scan_index_forward=False)
    equal("novels in pages, from the end", [int(book.number) for book in paged], list(range(89, 4, -1)))
    some = Book.query("maps", filter_condition=(Book.pages > 200) & (Book.title.startswith("Book 1")) & ~(Book.title == "Book 110"))
    equal("filtered maps", [int(book.number) for book in some], [*range(101, 110), *range(111, 120)])
    first = Book.query("novels", limit=7)
    equal("the first seven", len(list(first)), 7)
    rest = Book.query("novels", last_evaluated_key=first.last_evaluated_key)
    equal("the others", [int(book.number) for book in rest], list(range(7, 90)))
    scanned = list(Book.scan(Book.years.contains(1950) | Book.lent_to.exists(), attributes_to_get=["title", "notes"]))
    equal("a scan", [(book.title, book.notes) for book in scanned], [("Book 050", {"copies": [50, None]})])
    got = Book.batch_get([("novels", number) for number in range(85, 90)] + [("maps", 85)])
    equal("a batch of gets", sorted(int(book.number) for book in got), [85, 86, 87, 88, 89])

    atlas = Book.get("maps", 100)
    atlas.update(actions=[Book.ratings.set(Book.ratings.append([5, 4]))])
    atlas.update(actions=[Book.ratings.set(Book.ratings.prepend([3])), Book.notes.remove()], condition=Book.ratings[0] == 5)
    equal("ratings", [int(one) for one in Book.get("maps", 100).ratings], [3, 5, 4])
    equal("notes that were removed", Book.count("maps", Book.number == 100, filter_condition=Book.notes.exists()), 0)
    refused("paths that overlap", UpdateError,
            lambda: atlas.update(actions=[Book.ratings.set(Book.ratings.prepend([3])), Book.ratings[1].set(2)]),
            "Two document paths overlap with each other")


def loans():
    """A book and its member change together or not at all."""
    connection = Connection(region=Settings.region, host=Settings.host, max_retry_attempts=0)

    def lend(number, member, **options):
        with TransactWrite(connection=connection, **options) as transaction:
            transaction.update(Book("maps", number), actions=[Book.lent_to.set(member.name)],
                               condition=Book.lent_to.does_not_exist() & Book.title.exists())
            transaction.update(member, actions=[Member.loans.add(1)], return_values="ALL_OLD")

    ada = Member.get("ada")
    loans_before = ada.loans
    lend(101, ada, client_request_token="loan-of-101")
    ada.refresh()
    equal("the loans of a member", (ada.loans, ada.version), (loans_before + 1, 4))
    equal("the book's reader", Book.get("maps", 101).lent_to, "ada")
    error = refused("a book that is lent", TransactWriteError, lambda: lend(101, ada))
    equal("its reasons", [reason and reason.code for reason in error.cancellation_reasons], ["ConditionalCheckFailed", None])
    equal("the loans after it", Member.get("ada").loans, loans_before + 1)
    with TransactGet(connection=connection) as transaction:
        book = transaction.get(Book, "maps", 101)
        member = transaction.get(Member, "ada")
    equal("both in one read", (book.get().lent_to, int(member.get().loans)), ("ada", loans_before + 1))
    with TransactWrite(connection=connection) as transaction:
        transaction.condition_check(Member, "ada", condition=Member.active == True)  # noqa: E712
        transaction.delete(Book("maps", 102), condition=Book.lent_to.does_not_exist())
        transaction.save(Book("maps", 500, title="New", pages=1))
    equal("the maps after it", [int(book.number) for book in Book.query("maps", Book.number > 117)], [118, 119, 500])
    equal("the deleted map", Book.count("maps", Book.number == 102), 0)


def away():
    with Book.batch_write() as batch:
        for book in Book.scan():
            batch.delete(book)
    equal("the books at the end", Book.count(), 0)
    for model in (Member, Book):
        model.delete_table(wait=True)
        equal("a table at the end", model.exists(), False)


tables()
members()
books()
loans()
away()
