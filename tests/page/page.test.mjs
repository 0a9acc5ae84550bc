// The inspector's page in a real browser: `npm ci && node --test page.test.mjs`, with the program built.
// LOSSJIT and CHROMIUM name the two programs where they are elsewhere.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const program = process.env.LOSSJIT ?? new URL("../../target/release/lossjit", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "lossjit-page-"));
const flags =
  "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage";
const LOSSES = {
  SoftmaxCrossEntropyLoss: ["pred=f32[512,32000]", "label=i32[512]"],
  SDMLLoss: ["x1=f32[64,100]", "x2=f32[64,100]"],
  CTCLoss: ["pred=f32[16,100,30]", "label=i32[16,10]"],
};
const STAGES = ["trace", "simplify", "grad", "joint", "nest", "clif", "asm"];
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };

before(() => {
  for (const [loss, inputs] of Object.entries(LOSSES)) {
    const given = inputs.flatMap((input) => ["--input", input]);
    const output = ["--format", "html", "--output", join(folder, `${loss}.html`)];
    execFileSync(program, ["inspect", loss, ...given, "--grad", "all", ...output]);
  }
});
after(() => rmSync(folder, { recursive: true }));

// Opens a page in a browser of its own, does something with it, and holds it to saying nothing on the console and asking
// nothing of a network.
async function opened(loss, options, use) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const browser = await chromium.launch({ executablePath, args: flags.split(" ") });
  try {
    const page = await browser.newPage(options);
    const complaints = [];
    page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => /^(file|data):/.test(request.url()) || complaints.push(`asks for ${request.url()}`));
    await page.goto(pathToFileURL(join(folder, `${loss}.html`)).href);
    await use(page);
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
  }
}

// Whether a lit line of a pane is in view.
function shows(lines) {
  const box = lines.getBoundingClientRect();
  return [...lines.querySelectorAll(".lit")].some((line) => {
    const { top, bottom } = line.getBoundingClientRect();
    return top >= box.top - 1 && bottom <= box.bottom + 1;
  });
}

const lit = (page, stage) => page.locator(`#pane-${stage} .lines > .lit`).count();

for (const loss of Object.keys(LOSSES)) {
  test(`${loss}: a click lights relatives up in every stage, and escape puts them out`, () =>
    opened(loss, { viewport: DESKTOP, reducedMotion: "reduce" }, async (page) => {
      await page.locator("#pane-nest .lines > li", { hasText: "store out" }).first().click();
      for (const stage of ["source", ...STAGES]) assert.ok((await lit(page, stage)) > 0, `nothing is lit in ${stage}`);
      assert.ok((await page.locator("#pane-graph .box.lit:visible").count()) > 0, "nothing is lit in the graph");
      const all = await page.locator("#pane-asm .lines > li").count();
      assert.ok((await lit(page, "asm")) < all, "all of asm is lit");
      assert.match(await page.locator("#status").textContent(), /store out.*related lines.*asm \d/);
      for (const stage of STAGES) assert.ok(await page.locator(`#pane-${stage} .lines`).evaluate(shows), `${stage} is not scrolled`);
      await page.keyboard.press("Escape");
      assert.equal(await page.locator(".lit").count(), 0);
    }));

  test(`${loss}: every box of the graph belongs to a line, and a click on it lights the line up`, () =>
    opened(loss, { viewport: DESKTOP }, async (page) => {
      const boxes = page.locator("#pane-graph .box:visible");
      assert.ok((await boxes.count()) > 3);
      await boxes.last().click();
      const line = await boxes.last().getAttribute("data-line");
      assert.ok(await page.locator(`[id="${line}"]`).evaluate((element) => element.classList.contains("chosen")));
      for (const stage of ["trace", "simplify", "grad", "nest"]) {
        await page.locator("#drawn").selectOption(stage);
        assert.equal(await page.locator(".drawing:visible").getAttribute("data-stage"), stage);
      }
    }));

  test(`${loss}: the declared formula, numbered steps that say how far they hold, the compiled formula`, () =>
    opened(loss, { viewport: DESKTOP }, async (page) => {
      const chains = page.locator("#why .chain");
      assert.ok((await chains.count()) >= 2);
      const [first] = await chains.all();
      assert.ok(await first.evaluate((chain) => chain.open));
      for (const chain of await chains.all()) {
        const steps = await chain.locator(".step").all();
        for (const [place, step] of steps.entries()) {
          assert.equal(await step.locator(".n").textContent(), String(place + 1));
          assert.match(await step.locator(".badge").textContent(), /^(exact|over the reals|derivative)$/);
        }
        assert.equal(await chain.locator(".end").count(), 2);
      }
      await chains.nth(1).locator("summary").click();
      assert.ok(await chains.nth(1).evaluate((chain) => chain.open));
    }));

  test(`${loss}: nothing is wider than a phone, and panes come one at a time`, () =>
    opened(loss, { viewport: PHONE, isMobile: true, hasTouch: true }, async (page) => {
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= PHONE.width, `${width} pixels`);
      assert.equal(await page.locator(".pane:visible").count(), 1);
      await page.locator('.chip[data-pane="trace"]').tap();
      assert.equal(await page.locator(".pane:visible").getAttribute("data-pane"), "trace");
      await page.locator("#pane-trace .lines > li").last().tap();
      assert.match(await page.locator('.chip[data-pane="asm"]').textContent(), /asm \d+/);
    }));
}

test("the difference shows what simplify changed", () =>
  opened("SoftmaxCrossEntropyLoss", { viewport: DESKTOP }, async (page) => {
    const gone = page.locator("#pane-simplify .gone:visible");
    assert.equal(await gone.count(), 0);
    await page.locator("#diff").click();
    assert.ok((await gone.allTextContents()).some((text) => text.includes("log")), "the logarithm is gone");
    const fresh = await page.locator("#pane-simplify .new").allTextContents();
    assert.ok(fresh.some((text) => text.includes("lse")), "log-sum-exp is new");
    assert.ok(!fresh.some((text) => text.includes("read label")), "the read of the label is as it was");
    assert.equal(await page.locator("#pane-grad .gone").count(), 0, "differentiation takes nothing away");
    await page.keyboard.press("d");
    assert.equal(await gone.count(), 0);
  }));

test("all of it by keyboard", () =>
  opened("SDMLLoss", { viewport: DESKTOP, reducedMotion: "reduce" }, async (page) => {
    const focused = () => page.evaluate(() => document.activeElement.closest(".pane")?.dataset.pane);
    for (let stop = 0; (await focused()) !== "trace"; stop++) {
      assert.ok(stop < 60, "the pane cannot be reached by tab");
      await page.keyboard.press("Tab");
    }
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none", "the focus cannot be seen");
    for (let line = 0; line < 12; line++) await page.keyboard.press("ArrowDown");
    const active = await page.evaluate(() => document.activeElement.getAttribute("aria-activedescendant"));
    assert.equal(active, "trace-13");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator('[id="trace-13"]').getAttribute("aria-selected"), "true");
    assert.ok((await lit(page, "asm")) > 0);
    await page.keyboard.press("ArrowRight");
    assert.equal(await focused(), "simplify");
    await page.keyboard.press("Escape");
    assert.equal(await page.locator(".lit").count(), 0);
  }));

test("a row of the loops leads to its line in the nest, and an address to any line", () =>
  opened("SDMLLoss", { viewport: DESKTOP, reducedMotion: "reduce" }, async (page) => {
    const go = page.locator("#loops [data-go]").nth(1);
    const line = await go.getAttribute("data-go");
    await go.click();
    assert.ok(await page.locator(`[id="${line}"]`).evaluate((element) => element.classList.contains("chosen")));
    await page.goto(`${page.url()}#joint-4`);
    await page.reload();
    assert.ok(await page.locator('[id="joint-4"]').evaluate((element) => element.classList.contains("chosen")));
  }));

test("a loop lights its whole body up, and no other line of the nest; its pane is wholly in view", () =>
  opened("SDMLLoss", { viewport: DESKTOP, reducedMotion: "reduce" }, async (page) => {
    await page.locator("#loops [data-go]", { hasText: "for j by tile" }).first().click();
    const lines = page.locator("#pane-nest .lines > .lit");
    const texts = await lines.allTextContents();
    assert.match(texts[0], /^ +for j by tile$/);
    const depth = (text) => text.match(/^ */)[0].length;
    assert.ok(texts.length > 2 && texts.slice(1).every((text) => depth(text) > depth(texts[0])), texts.join("\n"));
    for (const stage of ["joint", "clif", "asm"]) assert.ok((await lit(page, stage)) > 0, `nothing is lit in ${stage}`);
    const { x, width } = await page.locator("#pane-nest").boundingBox();
    assert.ok(x >= 0 && x + width <= DESKTOP.width, `from ${x}, ${width} wide`);
  }));

test("blocks, sums over pairs and what they count are told", () =>
  opened("SDMLLoss", { viewport: DESKTOP }, async (page) => {
    const short = await page.locator("#summary dd", { hasText: "What each does" }).textContent();
    assert.match(short, /all pairs \(i, j, d\) by a native kernel/);
    const pairs = page.locator("#loops tr", { hasText: "pairs" }).first();
    assert.match(await pairs.locator('[data-name="in all"]').textContent(), /terms64 × 64 × 100$/);
    assert.match(await pairs.locator('[data-name="takes"]').textContent(), /1\.23 M \(\d+ %\)/);
    assert.match(await page.locator("#cost .lead").textContent(), /^Mostly: pairs, 3\.69 M of 3\.78 M/);
    assert.match(await page.locator("#pane-clif .lines").textContent(), /call fn\d+\(.*; native\.pairs/);
    const legend = await page.locator(".legend").textContent();
    for (const word of ["slot", "row0", "by block", "max="]) assert.ok(legend.includes(word), word);
    assert.ok(!legend.includes("by part") && !legend.includes("pred"));
  }));

test("a stage that is a copy of another is collapsed, and an address opens it", () =>
  opened("SoftmaxCrossEntropyLoss", { viewport: DESKTOP, reducedMotion: "reduce" }, async (page) => {
    assert.equal(await page.locator("#pane-joint summary").textContent(), "the same as grad");
    assert.equal(await page.locator("#joint-4:visible").count(), 0);
    await page.goto(`${page.url()}#joint-4`);
    await page.reload();
    assert.ok(await page.locator("#joint-4").isVisible());
  }));

test("nothing is wider than the window", async () => {
  for (const width of [800, 1200, 1600])
    await opened("SDMLLoss", { viewport: { width, height: 900 } }, async (page) => {
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
    });
});

test("panes can be hidden where several are shown", () =>
  opened("CTCLoss", { viewport: DESKTOP }, async (page) => {
    const shown = await page.locator(".pane:visible").count();
    await page.locator('.chip[data-pane="clif"]').click();
    assert.equal(await page.locator(".pane:visible").count(), shown - 1);
    assert.equal(await page.locator('.chip[data-pane="clif"]').getAttribute("aria-pressed"), "false");
  }));

// Contrast of text with what is behind it, after the web content accessibility guidelines: at least 4.5 for small text.
function contrasts() {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor, alpha = channels(colour)[3] ?? 1;
      if (alpha === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const selectors = "h1, h2, p, dt, dd, th, td, code, mark, ins, del, .badge, .lines > li:nth-child(-n+9) span, .chip, .toggle";
  return [...document.querySelectorAll(selectors)].filter((e) => e.offsetParent && e.textContent.trim()).map((element) => {
    const [one, other] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    return [ratio, element.className || element.tagName, element.textContent.slice(0, 30)];
  });
}

for (const colorScheme of ["light", "dark"])
  test(`${colorScheme}: every text can be read, lit or not`, () =>
    opened("SoftmaxCrossEntropyLoss", { viewport: DESKTOP, colorScheme }, async (page) => {
      const backgrounds = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
      assert.equal(backgrounds[0] > 128, colorScheme === "light");
      await page.locator("#diff").click();
      for (const choose of [false, true]) {
        if (choose) await page.locator("#pane-simplify .lines > li").nth(2).click();
        const found = await page.evaluate(contrasts);
        assert.ok(found.length > 50);
        assert.deepEqual(found.filter(([ratio]) => ratio < 4.5), []);
      }
    }));
