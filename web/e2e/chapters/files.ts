import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { assertAccessible } from "../accessibility.ts";
import type { IdePage } from "../ide-page.ts";
import { until } from "../until.ts";
import type { World } from "../world.ts";

/** One red dot. */
const PICTURE = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==",
  "base64",
);

/** Uploads, moves, deletions, and leaving with unsaved texts. */
export async function files(world: World, ide: IdePage): Promise<void> {
  const { page } = ide;
  const step = world.steps.step.bind(world.steps);
  const upload = (name: string, buffer: Buffer) =>
    page.getByLabel("Files to upload").setInputFiles({ name, mimeType: "application/octet-stream", buffer });

  await step("files are uploaded, and replaced only when asked", async () => {
    await upload("notes.txt", Buffer.from("first\n"));
    await ide.row("notes.txt").waitFor();
    await upload("notes.txt", Buffer.from("second\n"));
    await ide.dialog().getByRole("button", { name: "Replace" }).click();
    await ide.open("notes.txt");
    await until("the second text", async () => (await ide.editorText()).includes("second"));
    await upload("turns.txt", Buffer.from("still text\n"));
    await ide.open("turns.txt");
    await until("its text", async () => (await ide.editorText()).includes("still text"));
    await upload("turns.txt", Buffer.from([0, 159, 255, 3]));
    await ide.dialog().getByRole("button", { name: "Replace" }).click();
    await page.getByText("This file is no text.").waitFor();
    await ide.row("turns.txt").press("Delete");
    await ide.dialog().getByRole("button", { name: "Delete" }).click();
    await page.getByRole("tab", { name: "turns.txt" }).waitFor({ state: "detached" });
    await ide.open("notes.txt");
  });

  await step("a file that comes late does not take the place of one that was opened since", async () => {
    const slow = "**/api/files/*";
    /** Files come no more until the answer is called. */
    const hold = async (): Promise<() => void> => {
      let release = (): void => undefined;
      const released = new Promise<void>((done) => {
        release = done;
      });
      await page.route(slow, async (route) => {
        await released;
        await route.continue();
      });
      return release;
    };
    const front = page.getByRole("tab", { name: "hello.py", exact: true, selected: true });
    const behind = page.getByRole("tab", { name: "fails.py", exact: true, selected: false });
    const first = await hold();
    await ide.row("fails.py").click();
    await until("it to be asked for", async () => (await ide.row("fails.py").getAttribute("aria-selected")) === "true");
    await page.getByRole("tab", { name: "hello.py", exact: true }).click();
    first();
    await behind.waitFor();
    await front.waitFor();
    await page.unroute(slow);
    // Nor of one that is clicked while a reload opens again what was open.
    await behind.click();
    const second = await hold();
    await page.reload();
    await ide.row("hello.py").click();
    second();
    await behind.waitFor();
    await page.getByRole("tab", { name: "notes.txt" }).waitFor();
    await front.waitFor();
    await page.unroute(slow);
  });

  await step("a file is dropped on the tree, and its name is no markup", async () => {
    const transfer = await page.evaluateHandle(() => {
      const made = new DataTransfer();
      made.items.add(new File(["dropped\n"], "<img src=x onerror=alert(1)>.txt"));
      return made;
    });
    await page.getByRole("region", { name: "Files" }).dispatchEvent("drop", { dataTransfer: transfer });
    await ide.row("<img src=x onerror=alert(1)>.txt").waitFor();
    await ide.row("<img src=x onerror=alert(1)>.txt").press("Delete");
    await ide.dialog().getByText("/<img src=x onerror=alert(1)>.txt", { exact: true }).waitFor();
    await ide.dialog().getByRole("button", { name: "Delete" }).click();
    await ide.row("<img src=x onerror=alert(1)>.txt").waitFor({ state: "detached" });
  });

  await step("pictures are shown, and what is no text is offered as a download", async () => {
    await upload("dot.png", PICTURE);
    await ide.open("dot.png");
    const picture = page.getByRole("img", { name: "dot.png" });
    await until("the picture", () => picture.evaluate((image) => (image as HTMLImageElement).naturalWidth === 1));
    await upload("raw.bin", Buffer.from([0, 159, 255, 3]));
    await ide.open("raw.bin");
    await page.getByText("This file is no text.").waitFor();
    await page.getByRole("link", { name: "Download", exact: true }).waitFor();
  });

  await step("a file is moved into a new folder, by keyboard alone", async () => {
    await ide.row("notes.txt").focus();
    await page.keyboard.press("F2");
    await ide.dialog().getByRole("textbox").fill("/docs/notes.md");
    await page.keyboard.press("Enter");
    await page.getByRole("tab", { name: "notes.md", exact: true }).waitFor();
    await ide.row("docs").focus();
    await page.keyboard.press("Shift+F10");
    await page.getByRole("menu").waitFor();
    await assertAccessible(page, "the tree's menu");
    await page.keyboard.press("Escape");
    await ide.row("docs").press("ArrowRight");
    await ide.row("notes.md").waitFor();
    await ide.row("notes.md").press("Enter");
    await page.getByRole("tab", { name: "notes.md", exact: true, selected: true }).waitFor();
    await page.getByRole("textbox", { name: "Editor: /docs/notes.md" }).waitFor();
  });

  await step("a path that is taken is refused in words", async () => {
    await ide.row("notes.md").press("F2");
    await ide.dialog().getByRole("textbox").fill("/hello.py");
    await ide.dialog().getByRole("button", { name: "Move" }).click();
    await ide.dialog().getByRole("alert").waitFor();
    await ide.dialog().getByRole("button", { name: "Cancel" }).click();
  });

  await step("a file is found by a few letters", async () => {
    await page.locator(".cm-content").click();
    await page.keyboard.press("ControlOrMeta+p");
    await ide.dialog().getByRole("combobox").fill("hlo");
    await ide.dialog().getByRole("option", { name: "hello.py", selected: true }).waitFor();
    await assertAccessible(page, "finding a file");
    await page.keyboard.press("Enter");
    await page.getByRole("tab", { name: "hello.py", exact: true, selected: true }).waitFor();
  });

  await step("unsaved texts are asked for before the page is left", async () => {
    await page.locator(".cm-content").click();
    await page.keyboard.insertText("# not saved\n");
    await page.getByRole("tab", { name: "hello.py (unsaved)" }).waitFor();
    assert.match(await page.title(), /^● journey/);
    await page.getByRole("tab", { name: "hello.py (unsaved)" }).press("Delete");
    await ide.dialog().getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("link", { name: "All workspaces" }).click();
    await ide.dialog().getByText("Not saved: /hello.py").waitFor();
    await ide.dialog().getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("tab", { name: "hello.py (unsaved)" }).waitFor();
    await page.getByRole("link", { name: "All workspaces" }).click();
    await ide.dialog().getByRole("button", { name: "Discard" }).click();
    await page.getByRole("link", { name: "journey" }).click();
    await ide.open("hello.py");
    assert(!(await ide.editorText()).includes("# not saved"));
  });

  await step("a folder is deleted with all that is in it", async () => {
    await ide.open("docs", "folder");
    await ide.open("notes.md");
    await ide.row("docs").focus();
    await page.keyboard.press("Delete");
    await ide.dialog().getByRole("button", { name: "Delete" }).click();
    await ide.row("docs").waitFor({ state: "detached" });
    await page.getByRole("tab", { name: "notes.md" }).waitFor({ state: "detached" });
  });

  await step("a renamed file is shown in its new language, and a name that stays closes the question", async () => {
    await upload("words", Buffer.from("import os\n"));
    await ide.open("words");
    await page.getByRole("textbox", { name: "Editor: /words" }).waitFor();
    const coloured = () => page.locator(".cm-line span").count();
    assert.equal(await coloured(), 0);
    await ide.row("words").press("F2");
    await page.keyboard.press("Enter");
    await ide.dialog().waitFor({ state: "detached" });
    await ide.row("words").press("F2");
    await ide.dialog().getByRole("textbox").fill("/words.py");
    await page.keyboard.press("Enter");
    await until("its colours", coloured);
    await ide.row("words.py").press("Delete");
    await ide.dialog().getByRole("button", { name: "Delete" }).click();
    await ide.row("words.py").waitFor({ state: "detached" });
  });

  await step("the terminals are as high after a reload as they were made before", async () => {
    const edge = page.getByRole("separator", { name: "Height of the terminals" });
    const height = () => edge.getAttribute("aria-valuenow").then(Number);
    await edge.focus();
    const before = await height();
    await edge.press("ArrowUp");
    const after = await height();
    assert(after > before, `${before} became ${after}`);
    await page.reload();
    await ide.row("hello.py").waitFor();
    assert.equal(await height(), after);
    await edge.press("ArrowDown");
  });

  await step("a terminal that has not been fitted yet widens nothing", async () => {
    await page.locator(".xterm-screen").waitFor();
    const wider = await page.getByRole("region", { name: "Terminals" }).evaluate((pane) => {
      pane.style.width = "300px";
      const over = pane.scrollWidth - pane.clientWidth;
      pane.style.width = "";
      return over;
    });
    assert.equal(wider, 0);
  });

  await step("on a narrow screen all fits, and the side bar comes when it is asked for", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.equal(await overflow(), 0);
    await page.getByRole("link", { name: "All workspaces" }).waitFor();
    await ide.row("hello.py").waitFor({ state: "hidden" });
    await ide.button("Files and processes").click();
    await ide.row("fails.py").click();
    await page.getByRole("tab", { name: "fails.py", selected: true }).waitFor();
    await ide.row("hello.py").waitFor({ state: "hidden" });
    await assertAccessible(page, "a workspace on a narrow screen");
    // A window of 1280 pixels at four times the size.
    await page.setViewportSize({ width: 320, height: 256 });
    assert.equal(await overflow(), 0);
    await until("the editor to keep some room", async () => {
      const box = await page.getByRole("region", { name: "Editor" }).boundingBox();
      return box !== null && box.height >= 80;
    });
  });

  await step("everything is downloaded as an archive", async () => {
    await page.setViewportSize({ width: 1280, height: 800 });
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Download all files" }).click(),
    ]);
    const bytes = await readFile(await download.path());
    assert.equal(bytes.subarray(0, 2).toString(), "PK");
  });
}
