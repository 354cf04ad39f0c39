// Reads padded files with programs of Node. "json DIR" compares what JSON.parse makes of the snapshots; "hyparquet FILE FROM TO" prints rows of an index as
// lines of JSON.
const fs = require("fs"), path = require("path"), assert = require("assert");

function json(dir) {
  const got = Object.entries(JSON.parse(fs.readFileSync(path.join(dir, "runs", "snapshot_index.json"), "utf8")));
  const want = fs.readFileSync(path.join(dir, "want.ndjson"), "utf8").trim().split("\n").map((line) => JSON.parse(line));
  assert.strictEqual(got.length, want.length);
  got.forEach(([key, value], i) => assert.deepStrictEqual([key, value], [want[i].index._key, want[i].snapshot]));
}

async function hyparquet(file, rowStart, rowEnd) {
  const home = process.env.NODE_HOME; // a directory with node_modules
  const load = (name) => import(path.join(home, "node_modules", name, "src", name === "hyparquet" ? "node.js" : "index.js"));
  const { parquetReadObjects, asyncBufferFromFile } = await load("hyparquet");
  const { compressors } = await load("hyparquet-compressors");
  const rows = await parquetReadObjects({ file: await asyncBufferFromFile(file), compressors, rowStart, rowEnd });
  const text = (name, value) =>
    value instanceof Date ? String(value.getTime() * 1000) : typeof value === "bigint" ? String(value) : JSON.stringify(value ?? null);
  const line = (row) => "{" + Object.entries(row).map(([name, value]) => JSON.stringify(name) + ":" + text(name, value)).join(",") + "}\n";
  for (let i = 0; i < rows.length; i += 10000) {
    fs.writeSync(1, rows.slice(i, i + 10000).map(line).join(""));
  }
}

const [what, ...args] = process.argv.slice(2);
if (what === "json") {
  json(args[0]);
} else {
  hyparquet(args[0], Number(args[1]), Number(args[2])).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}
