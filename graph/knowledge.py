"""The knowledge base: every section of `data/knowledge/*.md` in an in-memory SQLite FTS5 index, built at first use.

The trigram tokenizer finds Chinese, which has no spaces; words shorter than three characters, common in Chinese,
are looked up with LIKE instead.
"""

import re
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from graph.language import CHINESE

ARTICLES = Path(__file__).parent / "data" / "knowledge"
STOP_WORDS = re.compile(
    "about|after|and|any|are|articles?|ask|base|can|could|did|docs|does|for|from|get|give|had|has|have|how|into|its|"
    "knowledge|many|much|please|search|should|tell|than|that|the|their|them|then|there|they|this|was|were|what|when|"
    "where|which|who|why|will|with|would|you|your"
)
CHINESE_FILLERS = re.compile(
    "请问|请|什么|怎么样|怎么|怎样|如何|多少|多久|多长时间|是否|可以|能不能|我想|知道|关于|一下|告诉我|搜索|查询|吗|呢|的|了|是|我|你们|你"
)


@dataclass(frozen=True)
class Passage:
    title: str
    file: str
    text: str


class KnowledgeBase:
    def __init__(self, articles: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(
            "CREATE VIRTUAL TABLE passages USING fts5(title, file UNINDEXED, body, tokenize='trigram')"
        )
        self._database.executemany(
            "INSERT INTO passages (title, file, body) VALUES (?, ?, ?)",
            [row for path in sorted(articles.glob("*.md")) for row in _sections(path)],
        )

    def search(self, query: str, limit: int = 3) -> list[Passage]:
        """Best first. Safe to call from any thread."""
        words = _words(query)
        with self._lock:
            rows = self._ranked(words, limit) or self._containing(words, limit)
        return [Passage(*row) for row in rows]

    def _ranked(self, words: list[str], limit: int) -> list[tuple[str, str, str]]:
        terms = " OR ".join(f'"{term}"' for word in words for term in _parts(word, 3) if len(term) >= 3)
        if not terms:
            return []
        return self._database.execute(
            "SELECT title, file, body FROM passages WHERE passages MATCH :terms "
            "ORDER BY bm25(passages, 4.0, 0.0, 1.0) LIMIT :limit",
            {"terms": terms, "limit": limit},
        ).fetchall()

    def _containing(self, words: list[str], limit: int) -> list[tuple[str, str, str]]:
        parts = [part for word in words for part in _parts(word, 2)][:40]
        if not parts:
            return []
        score = " + ".join("(title LIKE ?) * 4 + (body LIKE ?)" for _ in parts)
        values = [f"%{part}%" for part in parts for _ in range(2)]
        return self._database.execute(
            f"SELECT title, file, body FROM (SELECT *, {score} AS score FROM passages) "
            "WHERE score > 0 ORDER BY score DESC, file LIMIT ?",
            [*values, limit],
        ).fetchall()


@cache
def _opened(articles: Path) -> KnowledgeBase:
    return KnowledgeBase(articles)


_opening = threading.Lock()


def knowledge_base() -> KnowledgeBase:
    """The one index of this process; two threads asking at once still build it once."""
    with _opening:
        return _opened(ARTICLES)


def _sections(path: Path) -> Iterator[tuple[str, str, str]]:
    article, *sections = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for section in sections:
        heading, _, body = section.partition("\n")
        yield f"{article.strip().removeprefix('# ')} / {heading.strip()}", path.name, body.strip()


def _words(query: str) -> list[str]:
    latin = [
        word for word in re.findall(r"[a-z0-9]+", query.lower()) if len(word) > 2 and not STOP_WORDS.fullmatch(word)
    ]
    chinese = re.findall(f"[{CHINESE}]+", CHINESE_FILLERS.sub(" ", query))
    return [*(word.removesuffix("s") if len(word) > 4 else word for word in latin), *chinese][:20]


def _parts(word: str, size: int) -> list[str]:
    """A Chinese run has no word breaks, so any `size` neighbouring characters may be a word."""
    return [word] if word.isascii() else [word[i : i + size] for i in range(max(len(word) - size + 1, 1))]
