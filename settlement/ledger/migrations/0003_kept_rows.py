"""The head's mark of when a row that writers keep was last changed (docs/decisions/0271); two indices less (0272).

Writers of before do not set the mark, so a new epoch ends those that still run: restart them with this program.
"""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE head ADD COLUMN IF NOT EXISTS renewed bigint NOT NULL DEFAULT 0")
    op.execute("UPDATE head SET epoch = epoch + 1")
    op.execute("DROP INDEX IF EXISTS requests_by_home, requests_by_visited")
