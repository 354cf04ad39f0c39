"""What index.parquet and snapshot_index.json must say, made of what was acknowledged alone. It shares no code with runfold."""
import functools, json, re

OWNED = {"run_id", "stage", "phase", "timestamp", "record_id", "snapshot_seq"}
INTEGER, NUMBER, SPACE = re.compile(r"-?\d+"), re.compile(r"-?\d.*"), re.compile(r"[ \t]*")
scan = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).raw_decode


def characters(text):  # half of a surrogate pair is no character
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def quote(text):
    return json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@functools.lru_cache(5000)
def finite(line):
    """The record of a line: NaN and Infinity, which are no JSON, become null."""
    return re.sub(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN', lambda m: m[0] if m[0][0] == '"' else "null", line.strip(" \t"))


@functools.lru_cache(5000)
def members(text):
    """The name, the exact token and the exact text of each member of an object."""
    return tuple(each_member(text))


def each_member(text):
    at = SPACE.match(text, 1).end()
    while text[at] != "}":
        start = at
        name, at = scan(text, at)
        value = SPACE.match(text, SPACE.match(text, at).end() + 1).end()  # after the colon
        at = scan(text, value)[1]
        yield characters(name), text[value:at], text[start:at]
        at = SPACE.match(text, at).end()
        at = SPACE.match(text, at + 1).end() if text[at] == "," else at


def values(text):
    """The name and the token of all that the row of a record must hold. Of a name that stands twice the last one counts."""
    for name, token in {n: t for n, t, _ in members(text)}.items():
        if name in OWNED or name == "snapshot" and token[0] == "{":
            continue
        group = {n: t for n, t, _ in members(token)} if name in ("metrics", "params", "tags") and token[0] == "{" else {}
        for n, t in [(name + "." + n, t) for n, t in group.items()] or [(name, token)]:
            if t != "null":
                yield n, t


@functools.lru_cache(5000)
def cell(kind, token):
    """What a column of this type says of a value; None if it cannot hold it exactly."""
    if kind == "bool" and token in ("true", "false"):
        return token == "true"
    if kind == "int64" and INTEGER.fullmatch(token) and len(token) < 21 and -2**63 <= int(token) < 2**63:
        return int(token)
    if kind == "double" and INTEGER.fullmatch(token):
        return float(token) if cell("int64", token) is not None and int(float(token)) == int(token) else None
    if kind == "double" and NUMBER.fullmatch(token) and abs(float(token)) != float("inf"):
        return float(token)
    if kind == "string" and token[0] not in '{["':
        return token if len(token) <= 4096 else None
    if kind == "string" and token[0] == '"' and len(token.encode()) <= 6 * 4096 + 2:
        text = characters(json.loads(token))
        return text if len(text.encode()) <= 4096 and not ("\\u" in token and "\ufffd" in text) else None
    return None


def beside(kind, token):
    """Whether the exact token stands in _extra beside the text of its column, and hides nothing."""
    return kind == "string" and token[0] not in '{["' and len(token) <= 4096


def spellings(token):
    """How a value may be spelled that was in columns of other types: a double is not told from another spelling of it."""
    double = cell("double", token)
    if token == "-0":
        return {"-0", "-0.0"}  # the one integer that a double tells apart, and not from -0.0
    if INTEGER.fullmatch(token) or double is None:
        return {token}
    return {token, repr(double)} | ({str(int(double))} if double == int(double) and -2**63 <= double < 2**63 else set())


def outcomes(kind, tokens, moved):
    """All that a cell and _extra may say of the values of one name: of two values for a column any that fits may stand there."""
    for i, token in enumerate(tokens):
        rest = tokens[:i] + tokens[i + 1:]
        for t in sorted(spellings(token) if moved else {token}):
            if kind and (said := cell(kind, t)) is not None:
                # Where another value spells the text of the column, the text stands in _extra, too: else that one would be its exact token.
                spelled = any(beside(kind, o) and said in (spellings(o) if moved else {o}) for o in rest)
                if beside(kind, t) or spelled:
                    yield said, rest + [t]
                if not beside(kind, t) and (moved or not spelled):
                    yield said, rest
    if not any(kind and cell(kind, t) is not None for t in tokens) or moved and "-0" in tokens:
        yield None, tokens


def hides(kind, said, found):
    """How many scalars of _extra are in no column. One that spells the text of its column is its exact token."""
    exact = [t for t in found if beside(kind, t) and t == said][:1]
    return sum(t[0] not in "{[" for t in found) - len(exact)


def snapshot_line(run_id, stage, timestamp, seq, text):
    shown = ([t for n, t, _ in members(text) if n == "snapshot"] or [""])[-1]
    shown = members(shown if shown[:1] == "{" else text)
    head = f'{quote(run_id + ":" + stage)}:{{"run_id":{quote(run_id)},"stage":{quote(stage)},"timestamp":{quote(timestamp)},"snapshot_seq":{seq}'
    return head + "".join("," + t for n, _, t in shown if n not in ("run_id", "stage", "snapshot_seq", "timestamp")) + "}"
