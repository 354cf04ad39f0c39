// Clicks through the pages that "compactd serve" shows, as a reader does, in Chromium, and fails at the first thing that is wrong:
//
//	node browse.cjs ADDRESS CHROMIUM FOLDER
//
// FOLDER gets screenshots. playwright-core is found through NODE_PATH.
"use strict";
const assert = require("node:assert/strict");
const path = require("node:path");
const { chromium } = require("playwright-core");

const [base, executablePath, folder] = process.argv.slice(2);
const wrong = []; // what the console and the network say

// watched is a page whose complaints are kept.
async function watched(context, expected = () => false) {
  const page = await context.newPage();
  page.setDefaultTimeout(300000); // of a machine that does much else
  page.on("console", (m) => { if (["error", "warning"].includes(m.type()) && !expected(m.text())) wrong.push(`${page.url()}: console: ${m.text()}`); });
  page.on("pageerror", (e) => wrong.push(`${page.url()}: ${e}`));
  page.on("dialog", (d) => { wrong.push(`${page.url()}: a dialog: ${d.message()}`); d.dismiss(); });
  page.on("request", (r) => { if (!r.url().startsWith(base)) wrong.push(`${page.url()} asks for ${r.url()}`); });
  return page;
}

// follow clicks on what leads to another page, and waits until that is whole: its scripts have run, too.
async function follow(page, leads, how) {
  await Promise.all([page.waitForEvent("load"), leads.click(how)]);
}

// sound fails for what a reader with a keyboard or a screen reader would miss.
async function sound(page) {
  const found = await page.evaluate(() => {
    const bad = [];
    if (document.documentElement.lang !== "en") bad.push("no language");
    if (document.querySelectorAll("h1").length !== 1) bad.push("not one h1");
    if (!document.querySelector("main")) bad.push("no main");
    for (const i of document.querySelectorAll("input:not([type=hidden]), select, button")) {
      const name = i.getAttribute("aria-label") || (i.labels && i.labels.length && i.labels[0].textContent.trim()) || i.textContent.trim();
      if (!name) bad.push("a field without a name: " + i.outerHTML);
    }
    for (const a of document.querySelectorAll("a")) {
      if (!a.textContent.trim() && !a.getAttribute("aria-label")) bad.push("a link without a text: " + a.outerHTML);
      if (!/^(\.{1,2}\/|#)/.test(a.getAttribute("href"))) bad.push("a link to elsewhere: " + a.outerHTML);
    }
    for (const table of document.querySelectorAll("table")) {
      if (!table.getAttribute("aria-label")) bad.push("a table without a name");
      for (const row of table.tBodies[0].rows) if (!row.querySelector("th[scope=row]")) bad.push("a row without a head: " + row.textContent);
    }
    for (const e of document.querySelectorAll("span[aria-label], div[aria-label]:not([role])")) bad.push("a name that is not read: " + e.outerHTML);
    for (const e of document.querySelectorAll("*")) {
      for (const { name } of e.attributes) if (/^on|^style$/.test(name)) bad.push("an attribute " + name);
    }
    const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
    if (new Set(ids).size !== ids.length) bad.push("an id stands twice");
    if (document.documentElement.scrollWidth > document.documentElement.clientWidth + 1) bad.push("the page is wider than the screen: " + document.documentElement.scrollWidth);
    return bad;
  });
  assert.deepEqual(found, [], page.url());
}

// contrast fails for texts that are hard to read on their background.
async function contrast(page) {
  const found = await page.evaluate(() => {
    const parse = (c) => c.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
    const back = (e) => {
      for (; e; e = e.parentElement) {
        const c = parse(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c;
      }
      return parse(getComputedStyle(document.documentElement).backgroundColor);
    };
    const bad = new Set();
    for (const e of document.querySelectorAll("a, p, td, th, h1, h2, span, label, button, figcaption, footer, pre, li")) {
      if (!e.textContent.trim() || !e.offsetParent || e.disabled || e.classList.contains("skip")) continue;
      const [a, b] = [light(parse(getComputedStyle(e).color)), light(back(e))].sort((x, y) => y - x);
      if ((a + 0.05) / (b + 0.05) < 4.5) bad.add(`${e.tagName}.${e.className}: ${((a + 0.05) / (b + 0.05)).toFixed(1)}`);
    }
    return [...bad];
  });
  assert.deepEqual(found, [], `contrast at ${page.url()}`);
}

const pages = {
  runs: "/", filtered: "/?where=metrics.auc+%3E+0.5&sort=-metrics.auc&limit=25", mistake: "/?where=metrics.auc+%3E%3E+1", run: "/run?run=r-17%3ATRAINING",
  compare: "/compare?run=r-17%3ATRAINING&run=r-18%3ATRAINING&run=r-19%3ATRAINING", chart: "/chart?y=metrics.auc&run=r-17%3ATRAINING", words: "/chart?y=metrics.auc&x=params.opt",
  generations: "/generations", status: "/status", files: "/files/", hostile: "/?where=cohort_id+%3D+%27hostile%27&columns=*", nothing: "/run?run=nix",
};

// looks visits each page in light and dark, wide and narrow.
async function looks(browser) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 400]) {
      const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 } });
      const page = await watched(context, (text) => /status of (400|404)/.test(text));
      for (const [name, target] of Object.entries(pages)) {
        await page.goto(base + target.slice(1));
        await sound(page);
        await contrast(page);
        await page.screenshot({ path: path.join(folder, `${name}-${colorScheme}-${width}.png`), fullPage: false });
      }
      await context.close();
    }
  }
}

// clicks goes the way of a reader with a mouse.
async function clicks(browser) {
  const page = await watched(await browser.newContext({ viewport: { width: 1280, height: 900 } }));
  await page.goto(base);
  await page.fill("#where", "metrics.auc > 0.2 and params.opt in ('adam', 'sgd', 'lamb')");
  await follow(page, page.getByRole("button", { name: "Show", exact: true }));
  assert.match(page.url(), /where=metrics\.auc/);
  await follow(page, page.getByRole("link", { name: "metrics.auc", exact: true }));
  const column = page.getByRole("columnheader", { name: "metrics.auc" });
  assert.equal(await column.getAttribute("aria-sort"), "descending");
  const values = await page.locator("table.list tbody tr").evaluateAll((rows, at) => rows.map((r) => Number(r.cells[at].textContent)), await column.evaluate((c) => c.cellIndex));
  assert.deepEqual(values, [...values].sort((a, b) => b - a));

  await page.locator("summary", { hasText: "Choose columns" }).click();
  await page.fill("#find-column", "params");
  assert.equal(await page.locator("#choices label:visible").count(), await page.locator("#choices label").filter({ hasText: "params" }).count());
  await page.locator("#choices input[value='params.opt']").uncheck();
  await follow(page, page.getByRole("button", { name: "Show these columns" }));
  assert.match(page.url(), /columns=run_id/);
  assert.equal(await page.getByRole("columnheader", { name: "params.opt" }).count(), 0);

  await follow(page, page.getByRole("link", { name: "Next" }).first());
  assert.match(page.url(), /from=100/);
  await follow(page, page.getByRole("link", { name: "Previous" }).first());
  const boxes = page.locator("input[name=run]");
  assert.equal(await page.locator("#compare").isDisabled(), true);
  await boxes.nth(0).check();
  await boxes.nth(2).check();
  assert.equal(await page.getByRole("status").textContent(), "2 ticked");
  await follow(page, page.getByRole("button", { name: "Compare 2 runs" }));
  await page.getByRole("heading", { name: /differences/ }).waitFor();
  await page.goBack();
  await follow(page, page.getByRole("link", { name: "Chart of these runs" }));
  await page.locator("svg.chart circle").first().waitFor();
  await page.fill("input[name=x]", "params.lr");
  await follow(page, page.getByRole("button", { name: "Draw" }));
  await follow(page, page.locator("svg.chart a").nth(3), { force: true });
  await page.getByRole("heading", { name: /^Run / }).waitFor();
  await page.locator("ul.tree summary").first().click();
  for (const name of ["Generations", "Status", "Files", "Chart", "Runs"]) {
    await follow(page, page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name, exact: true }));
    assert.equal(await page.locator("nav [aria-current=page]").textContent(), name);
  }
  await page.goto(base + "?where=params.opt+%3D+%27sgd%27");
  const [csv] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: /^All .* as CSV/ }).click()]);
  assert.equal(await csv.failure(), null);
  await page.goto(base + "files/");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "index.parquet" }).click()]);
  assert.equal(download.suggestedFilename(), "index.parquet");
  assert.equal(await download.failure(), null);
  await page.context().close();
}

// keys goes without a mouse.
async function keys(browser) {
  const page = await watched(await browser.newContext());
  await page.goto(base);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "To the content");
  await page.keyboard.press("Enter");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "where");
  await page.keyboard.type("metrics.auc > 0.3");
  await Promise.all([page.waitForURL(/where=metrics/), page.keyboard.press("Enter")]);
  await Promise.all([page.waitForURL(/from=100/), page.keyboard.press("n")]);
  await Promise.all([page.waitForURL((u) => !/from=100/.test(u.href)), page.keyboard.press("p")]);
  const outline = await page.locator("header nav a").first().evaluate((a) => { a.focus(); return true; });
  assert.ok(outline);
  await page.context().close();
}

// again follows a page that is loaded again, but not while somebody writes or ticks.
async function again(browser) {
  const page = await watched(await browser.newContext());
  await page.clock.install();
  await page.goto(base + "?every=5");
  let loads = 0;
  page.on("load", () => loads++);
  await page.fill("#where", "metrics.auc > 0.3");
  await page.clock.runFor(60000);
  assert.equal(await page.inputValue("#where"), "metrics.auc > 0.3");
  await page.fill("#where", "");
  await page.evaluate(() => document.activeElement.blur());
  await page.locator("input[name=run]").nth(1).check();
  await page.clock.runFor(60000);
  assert.equal(await page.locator("input[name=run]").nth(1).isChecked(), true);
  assert.equal(loads, 0);
  await page.locator("input[name=run]").nth(1).uncheck();
  await page.evaluate(() => document.activeElement.blur());
  await Promise.all([page.waitForEvent("load"), page.clock.runFor(6000)]);
  await page.context().close();
}

// plain reads without JavaScript.
async function plain(browser) {
  const page = await watched(await browser.newContext({ javaScriptEnabled: false }), (text) => /status of 400/.test(text));
  await page.goto(base);
  await page.fill("#where", "params.opt = 'sgd'");
  await follow(page, page.getByRole("button", { name: "Show", exact: true }));
  await page.locator("input[name=run]").nth(0).check();
  await page.locator("input[name=run]").nth(1).check();
  await follow(page, page.locator("#compare"));
  await page.getByRole("heading", { name: /differences/ }).waitFor();
  await page.goto(base + "chart?y=metrics.auc");
  await page.locator("svg.chart circle").first().waitFor();
  await page.goto(base + "?where=metrics.auc+%3E%3E+1");
  await page.locator("#wrong").waitFor();
  await page.context().close();
}

// strangers shows what strangers wrote: nothing of it runs, and each link leads to its run.
async function strangers(browser) {
  const page = await watched(await browser.newContext());
  await page.goto(base + "?cohort=hostile&columns=*");
  const links = await page.locator("table.list a[href^='./run']").evaluateAll((all) => all.map((a) => a.getAttribute("href")));
  assert.ok(links.length > 5);
  for (const link of links) {
    await page.goto(base + link.slice(2));
    await page.getByRole("heading", { name: /^Run / }).waitFor();
    assert.equal(await page.evaluate(() => window.hacked), undefined);
  }
  await page.goto(base + "?cohort=hostile");
  for (const box of await page.locator("input[name=run]").all()) await box.check();
  await follow(page, page.locator("#compare"));
  await page.getByRole("heading", { name: /differences/ }).waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  await page.context().close();
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  try {
    for (const part of [looks, clicks, keys, again, plain, strangers]) {
      await part(browser);
      console.log(`${part.name}: done`);
    }
    assert.deepEqual(wrong, [], "the console");
  } finally {
    await browser.close();
  }
})().catch((e) => { console.error(e, wrong); process.exit(1); });
