"""Compares what DuckDB, pyarrow and polars read with the model, cell by cell, and the snapshots byte by byte.

A line on standard input names a root, its acknowledged lines with stamp, record_id and cohort, what "compactd columns --json" says, and
whether columns were retyped or dropped: then a number may be spelled as its double is. The answer is "ok CELLS", or what differs.
"""
import collections, datetime, itertools, json, re, sys, time, traceback
import duckdb, polars, pyarrow, pyarrow.parquet
from model import NUMBER, cell, characters, finite, hides, members, outcomes, quote, scan, snapshot_line, spellings, values

FIRST = ["run_id", "phase", "cohort_id", "snapshot_seq", "timestamp"]
LAST = ["_key", "_stamp", "_record_id", "_digest", "_stream", "_writer", "_extra"]
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def expect(ok, *what):
    if not ok:
        raise AssertionError(" ".join(map(str, what))[:3000])


def is_number(text):
    try:
        return bool(NUMBER.fullmatch(text)) and text.isascii() and scan(text, 0)[1] == len(text)
    except ValueError:
        return False


def blurred(said, moved):
    """A token, or the text in a cell, as it is compared: where columns moved, by what it means. An integer has all its digits."""
    if not moved or not isinstance(said, str):
        return said
    if said[:1] == '"' and said[-1:] == '"' and len(said) > 1:
        try:
            return quote(characters(json.loads(said)))
        except ValueError:
            return said
    if not is_number(said):
        return said
    whole, double = cell("int64", said), cell("double", said)
    return str(whole) if whole is not None else said if double is None else repr(double + 0.0)


def same(found, tokens, moved):
    """Whether _extra has these tokens and no others. A token that changed its spelling may look like another one, so all pairings are tried."""
    left = [blurred(t, moved) for t in found]
    ways = [{blurred(s, moved) for s in (spellings(t) if moved else {t})} for t in tokens]
    return len(left) == len(ways) and any(all(t in w for t, w in zip(order, ways)) for order in itertools.permutations(left))


def last_writes(records):
    """By key the write with the highest stamp, and the cohorts of all writes with its id and bytes."""
    cohorts, last = collections.defaultdict(set), {}
    for w in records:
        text = finite(w["line"])
        own = {n: json.loads(t) for n, t, _ in members(text) if n in ("run_id", "stage", "phase", "timestamp")}
        stage = own.get("stage") or own.get("phase")
        key = own["run_id"] + ":" + stage
        cohorts[key, w["id"], text].add(w["cohort"])
        if key not in last or last[key]["_stamp"] < w["stamp"]:
            last[key] = {"run_id": own["run_id"], "phase": stage, "_key": key, "_stamp": w["stamp"], "_record_id": w["id"], "text": text,
                         "time": own.get("timestamp"), "cohorts": cohorts[key, w["id"], text]}
    return last


def read(path, kinds):
    """The cells of each reader, by column, after a look at names and types."""
    names = FIRST + list(kinds) + LAST
    tables = {"pyarrow": pyarrow.parquet.ParquetFile(path).read(), "polars": polars.read_parquet(path).to_arrow(),
              "DuckDB": duckdb.read_parquet(path).to_arrow_table()}
    for reader, table in tables.items():
        # DuckDB tells "a" from "A" by another name.
        expect(reader == "DuckDB" or table.column_names == names, reader, "has the columns", table.column_names, "want", names)
        for name, field in zip(names, table.schema):
            kind = str(field.type).replace("large_", "").replace("_view", "")
            expect(kind == kinds.get(name, kind), reader, "says", kind, "of column", repr(name), "which is", kinds.get(name))
        times = table.column(4).cast(pyarrow.timestamp("us", "UTC")).cast("int64")
        yield reader, [(times if i == 4 else column).to_pylist() for i, column in enumerate(table.columns)]


def check(root, since, records, columns, moved):
    kinds = {c["name"]: c["type"] for c in columns["columns"]}
    names = FIRST + list(kinds) + LAST
    at = {name: i for i, name in enumerate(names)}
    last = last_writes(records)
    said = dict(read(root + "/index.parquet", kinds))
    rows = said["pyarrow"]
    keys, seqs = rows[at["_key"]], rows[at["snapshot_seq"]]
    expect(sorted(keys) == sorted(last), "the index has the keys", sorted(keys), "want", sorted(last))
    expect(all(a < b for a, b in zip([0] + seqs, seqs)), "snapshot_seq does not rise:", seqs)

    want = [[None] * len(last) for _ in names]
    held, hidden, lines = collections.Counter(), 0, []
    for r, key in enumerate(keys):
        w, row = last[key], {n: rows[i][r] for n, i in at.items()}
        expect(row["cohort_id"] in w["cohorts"], key, "is of cohort", row["cohort_id"])
        for n in ("cohort_id", "snapshot_seq", "_digest", "_stream", "_writer", "_extra"):  # for the other readers; _extra is looked at below
            want[at[n]][r] = row[n]
        for n in ("run_id", "phase", "_key", "_stamp", "_record_id"):
            want[at[n]][r] = w[n]
        micros = row["timestamp"]
        if w["time"]:
            micros = (datetime.datetime.fromisoformat(w["time"].upper()) - EPOCH) // datetime.timedelta(microseconds=1)
        else:
            expect(since <= micros <= time.time_ns() // 1000, key, "has the time", micros)
        want[at["timestamp"]][r] = micros
        tokens, found = collections.defaultdict(list), collections.defaultdict(list)
        for n, t in values(w["text"]):
            tokens[n].append(t)
        for n, t, _ in members(row["_extra"] or "{}"):
            found[n].append(t)
        for n, ts in tokens.items():
            kind = kinds.get(n)
            all_ways = list(outcomes(kind, ts, moved))
            ways = [c for c, extra in all_ways if same(found[n], extra, moved)
                    and (kind is None or blurred(c, moved) == blurred(row[n], moved))]
            expect(ways, repr(key), "column", repr(n), "of type", kind, "says", repr(row.get(n))[:200], "and _extra", found[n],
                   "want one of", [(repr(c)[:200], e) for c, e in all_ways], "of", w["text"])
            if kind and row[n] is not None:
                held[n] += 1
                want[at[n]][r] = row[n] if moved else ways[0]
            hidden += hides(kind, row.get(n), found[n])
        expect(set(found) <= set(tokens), repr(key), "_extra has names that the record has not:", row["_extra"])
        stamp = w["time"] or (EPOCH + datetime.timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lines.append(snapshot_line(w["run_id"], w["phase"], stamp, row["snapshot_seq"], w["text"]))
    for reader, found in said.items():
        for n, i in at.items():
            for r in range(len(last) if found[i] != want[i] else 0):
                expect(found[i][r] == want[i][r], reader, "says", repr(found[i][r])[:500], "in column", repr(n), "of", keys[r], "want", repr(want[i][r])[:500])

    text = "{\n" + ",\n".join(lines) + ("\n" if lines else "") + "}\n"
    got = open(root + "/snapshot_index.json", "rb").read().decode()
    # Spaces before a comma put the next line at a multiple of 4,096 bytes, where a section begins.
    for padded in re.finditer(rb"\} +,\n", got.encode()):
        expect(padded.end() % 4096 == 0, "snapshot_index.json has spaces before offset", padded.end())
    plain = re.sub(r"\} +,\n", "},\n", got)
    expect(plain == text, "snapshot_index.json differs:", [(g, w) for g, w in zip(plain.split("\n"), text.split("\n")) if g != w][:1])
    expect(list(scan(got, 0)[0]) == keys, "snapshot_index.json has other keys")
    for c in columns["columns"]:
        expect(c["values"] == held[c["name"]], "columns --json counts", c["values"], "values of", repr(c["name"]), "want", held[c["name"]])
    told = sum(x["values"] for c in columns["columns"] + [{"in_extra": columns["no_column"]}] for x in c["in_extra"])
    expect(told == hidden, "columns --json counts", told, "values that only _extra holds, want", hidden)
    return len(names) * len(last) * len(said)


for line in sys.stdin:
    try:
        print("ok", check(**json.loads(line)), flush=True)
    except AssertionError as e:
        print(json.dumps("differs: " + str(e)), flush=True)
    except Exception:
        print(json.dumps(traceback.format_exc()), flush=True)
