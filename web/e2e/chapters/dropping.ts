import assert from "node:assert/strict";
import { mkdir, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Locator } from "playwright-core";
import { assertAccessible } from "../accessibility.ts";
import type { IdePage } from "../ide-page.ts";
import { longestFrame } from "../pace.ts";
import { until } from "../until.ts";
import type { World } from "../world.ts";

/** Files in the large folder. */
const MANY = 3000;
/** So many rows are in the page at most, whatever the tree holds: some screens full. */
const DRAWN = 120;
/** A large folder is open after so long, in milliseconds, on a machine that draws without delay. */
const OPEN_MS = 1000;

/** Files and folders of this machine, dropped on the tree, and a tree of thousands of rows. */
export async function dropping(world: World, ide: IdePage): Promise<void> {
  const { page } = ide;
  const step = world.steps.step.bind(world.steps);
  const tree = page.getByRole("region", { name: "Files" });
  const messages = page.getByRole("region", { name: "Messages" });
  const onDisk = async (path: string, content: string | Buffer): Promise<string> => {
    const whole = join(world.scratch, path);
    await mkdir(dirname(whole), { recursive: true });
    await writeFile(whole, content);
    return whole;
  };

  await step("a folder is dropped on the tree, with all that is in it", async () => {
    await onDisk("project/README.md", "read me first\n");
    await onDisk("project/.env", "KEY=1\n");
    await onDisk("project/src/deep er/ü.txt", "from the deep\n");
    await onDisk("project/src/bytes.bin", Buffer.from([0, 159, 255, 3]));
    await onDisk("project/node_modules/left/index.js", "left out\n");
    await mkdir(join(world.scratch, "project/empty"));
    await ide.drop([join(world.scratch, "project"), await onDisk("beside.txt", "beside\n")], tree);
    await messages.getByText("made in the sandbox: project/node_modules.").waitFor();
    await messages.getByRole("button", { name: "Dismiss" }).click();
    await ide.row("beside.txt").waitFor();
    await ide.open("project", "folder");
    await ide.row("empty").waitFor();
    await ide.row(".env").waitFor();
    assert.equal(await ide.row("node_modules").count(), 0);
    await ide.open("src", "folder");
    await ide.open("deep er", "folder");
    await ide.open("ü.txt");
    await until("its text", async () => (await ide.editorText()).includes("from the deep"));
    await ide.open("bytes.bin");
    const raw = await page.getByRole("link", { name: "Download", exact: true }).getAttribute("href");
    const bytes = await page.evaluate(
      async (from) => [...new Uint8Array(await (await fetch(from)).arrayBuffer())],
      `${raw}`,
    );
    assert.deepEqual(bytes, [0, 159, 255, 3]);
  });

  await step("a folder is dropped on a folder, and replaces only when asked", async () => {
    await onDisk("src/deep er/ü.txt", "replaced\n");
    await ide.drop([join(world.scratch, "src")], ide.row("project"));
    await ide.dialog().getByText("/project/src/deep er/ü.txt").waitFor();
    await ide.dialog().getByRole("button", { name: "Replace" }).click();
    await ide.open("ü.txt");
    await until("the new text", async () => (await ide.editorText()).includes("replaced"));
  });

  await step("what is too large is refused in words", async () => {
    const large = await onDisk("large.bin", "");
    await truncate(large, 101 * 1024 * 1024);
    await ide.drop([large], tree);
    await messages.getByText("Nothing was uploaded: ").waitFor();
    await messages.getByText("1 file, the largest large.bin, 101.0 MiB.").waitFor();
    await messages.getByRole("button", { name: "Dismiss" }).click();
  });

  await step("thousands of files are dropped, and the page draws only those that are seen", async () => {
    await Promise.all(Array.from({ length: MANY }, (_, at) => onDisk(`many/m${at}.txt`, `${at}\n`)));
    const progress = page.getByRole("progressbar");
    const [, begun] = await Promise.allSettled([ide.drop([join(world.scratch, "many")], tree), progress.waitFor()]);
    assert.equal(begun.status, "fulfilled", "the upload is shown");
    await progress.waitFor({ state: "detached" });
    await ide.row("many").waitFor();
    const opening = await ide.row("many").evaluate(async (row) => {
      const begin = performance.now();
      (row as HTMLElement).click();
      await new Promise(requestAnimationFrame);
      await new Promise(requestAnimationFrame);
      return performance.now() - begin;
    });
    await ide.row("m0.txt").waitFor();
    const frame = await longestFrame(page);
    assert(opening < OPEN_MS + 5 * frame, `the folder took ${Math.round(opening)} ms to open`);
    await bounded(ide);
  });

  await step("the keyboard goes everywhere in a large tree", async () => {
    await ide.row("many").press("ArrowRight");
    await page.keyboard.press("ArrowDown");
    await focused(ide, "m1.txt");
    assert.equal(await ide.row("m1.txt").getAttribute("aria-posinset"), "2");
    assert.equal(await ide.row("m1.txt").getAttribute("aria-setsize"), `${MANY}`);
    // Out of sight the row of the keyboard stays, or keys would go nowhere.
    await page.getByRole("tree").evaluate((element) => element.scrollTo(0, element.scrollHeight / 2));
    await ide.row(`m${MANY / 2}.txt`).waitFor();
    await bounded(ide);
    await focused(ide, "m1.txt");
    await page.keyboard.press("ArrowDown");
    await focused(ide, "m2.txt");
    await until("it to be seen again", () => inSight(ide, "m2.txt"));
    await page.keyboard.press("End");
    await until("the end to be seen", () => isWithin(page.getByRole("treeitem").last(), page.getByRole("tree")));
    await bounded(ide);
    await assertAccessible(page, "a large tree");
    await page.keyboard.press("Home");
    await until("the beginning to be seen", () => inSight(ide, "many"));
  });

  await step("thousands of files are deleted at once", async () => {
    for (const name of ["many", "project", "beside.txt"]) {
      await ide.row(name).press("Delete");
      await ide.dialog().getByRole("button", { name: "Delete" }).click();
      await ide.row(name).waitFor({ state: "detached" });
    }
    await until("the keyboard to stay in the tree", () => page.getByRole("tree").locator(":focus").count());
  });
}

async function bounded(ide: IdePage): Promise<void> {
  const drawn = await ide.page.getByRole("treeitem").count();
  assert(drawn <= DRAWN, `${drawn} rows are in the page`);
}

function focused(ide: IdePage, name: string): Promise<unknown> {
  return until(`the focus to be on ${name}`, () => ide.row(name).evaluate((row) => row === document.activeElement));
}

/** Whether a row lies within what is seen of the tree. */
async function inSight(ide: IdePage, name: string): Promise<boolean> {
  return (await ide.row(name).count()) > 0 && (await isWithin(ide.row(name), ide.page.getByRole("tree")));
}

async function isWithin(inner: Locator, outer: Locator): Promise<boolean> {
  const [row, tree] = [await inner.boundingBox(), await outer.boundingBox()];
  return row !== null && tree !== null && row.y >= tree.y - 1 && row.y + row.height <= tree.y + tree.height + 1;
}
