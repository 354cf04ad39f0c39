// Answers each line {table, version} with the rows of that version of a Delta table, as ClickHouse reads them.
const { Session } = require(process.env.CHDB || "chdb");
const fs = require("fs"), os = require("os"), path = require("path"), readline = require("readline");

let open = { table: null };
function sessionOf(table) {
  if (open.table !== table) {
    close();
    process.chdir(path.dirname(table)); // ClickHouse reads files below user_files_path only, which is this directory here
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "chdb-"));
    open = { table, dir, session: new Session(dir) };
  }
  return open.session;
}
function close() {
  if (open.table !== null) {
    open.session.close();
    fs.rmSync(open.dir, { recursive: true, force: true });
    open = { table: null };
  }
}
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { table, version } = JSON.parse(line);
  try {
    const at = version === null ? "" : ` settings delta_lake_snapshot_version=${version}`;
    const query = `select * replace(toUnixTimestamp64Micro(timestamp) as timestamp) from deltaLakeLocal('${table}/')${at}`;
    const text = sessionOf(table).query(query, "JSONCompactEachRowWithNames");
    const [names, ...rows] = text.trim().split("\n");
    process.stdout.write(`{"names":${names},"rows":[${rows.join(",")}]}\n`);
  } catch (error) {
    process.stdout.write(JSON.stringify({ error: String(error).slice(0, 500) }) + "\n");
  }
}).on("close", close);
