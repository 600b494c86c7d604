/** A workspace's page as a person uses it: by what is written on it. */

import type { Locator, Page } from "playwright-core";
import { until } from "./until.ts";

export class IdePage {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  button(name: string): Locator {
    return this.page.getByRole("button", { name, exact: true });
  }

  row(name: string): Locator {
    return this.page.getByRole("treeitem", { name, exact: true });
  }

  connection(): Locator {
    return this.page.getByRole("status", { name: "Connection" });
  }

  dialog(): Locator {
    return this.page.getByRole("dialog");
  }

  /** The text of the editor that is shown. Only small files: the editor draws what fits. */
  async editorText(): Promise<string> {
    // biome-ignore lint/performance/useDomNodeTextContent: only innerText has the line breaks
    return (await this.page.locator(".cm-content").innerText()).replaceAll("\u00a0", " ");
  }

  async newFile(path: string, text: string): Promise<void> {
    await this.button("New file").click();
    await this.dialog().getByRole("textbox").fill(path);
    await this.dialog().getByRole("button", { name: "Create" }).click();
    await this.page.getByRole("textbox", { name: `Editor: ${path}` }).waitFor();
    await this.replaceText(text);
    await this.save();
  }

  async replaceText(text: string): Promise<void> {
    await this.page.locator(".cm-content").click();
    await this.page.keyboard.press("ControlOrMeta+a");
    await this.page.keyboard.insertText(text);
  }

  async save(): Promise<void> {
    await this.page.keyboard.press("ControlOrMeta+s");
    await until(
      "the file to be saved",
      async () => (await this.page.getByText("●").filter({ visible: true }).count()) === 0,
    );
  }

  async open(name: string, kind: "file" | "folder" = "file"): Promise<void> {
    await this.row(name).waitFor();
    if (kind === "file") {
      await this.row(name).click();
      await this.page.getByRole("tab", { name, exact: true, selected: true }).waitFor();
    } else if ((await this.row(name).getAttribute("aria-expanded")) === "false") {
      await this.row(name).click();
    }
  }

  /** Runs the open file, and waits for its terminal to be the one in front. */
  async run(command: string): Promise<void> {
    const before = await this.newestProcess();
    await this.button("Run").click();
    await until("the program to be started", async () => (await this.newestProcess()) !== before);
    await until("its terminal to be in front", async () => (await this.selectedTerminal()) === command);
  }

  /** Starts a shell, and waits for its terminal, by its name where one is given, to be the one in front. */
  async newTerminal(name?: string): Promise<void> {
    const before = await this.newestProcess();
    await this.button("New terminal").click();
    await until("the shell to be started", async () => (await this.newestProcess()) !== before);
    if (name !== undefined) {
      await until("the shell to be in front", async () => (await this.selectedTerminal()) === name);
    }
  }

  /** The address of the output of the program in front, which names it. */
  async newestProcess(): Promise<string | null> {
    const link = this.page.getByRole("link", { name: "Download output" });
    return (await link.count()) === 0 ? null : link.getAttribute("href");
  }

  terminalTab(command: string): Locator {
    return this.page.getByRole("region", { name: "Terminals" }).getByRole("tab", { name: command, exact: true });
  }

  async selectedTerminal(): Promise<string> {
    const tab = this.page.getByRole("region", { name: "Terminals" }).getByRole("tab", { selected: true });
    return (await tab.count()) === 1 ? ((await tab.textContent()) ?? "") : "";
  }

  /** All that the terminal in front keeps, as its own button copies it. */
  async terminalText(): Promise<string> {
    await this.page.bringToFront();
    await this.page.evaluate(() => navigator.clipboard.writeText("\u0000"));
    await this.button("Copy all output").click();
    return until("the terminal's text", async () => {
      const text = await this.page.evaluate(() => navigator.clipboard.readText());
      return text === "\u0000" ? null : { text };
    }).then((found) => found.text);
  }

  async terminalShows(what: string | RegExp): Promise<string> {
    let text = "";
    return until(`the terminal to show ${what}`, async () => {
      text = await this.terminalText();
      return (typeof what === "string" ? text.includes(what) : what.test(text)) ? text : null;
    }).catch((error) => {
      throw new Error(`${error.message}; it shows: ${text.slice(-2000)}`);
    });
  }

  async processStatus(): Promise<string> {
    return (await this.page.getByRole("status", { name: "Process status" }).textContent()) ?? "";
  }

  async ends(status: string): Promise<void> {
    let last = "";
    await until(`the process to be ${status}`, async () => {
      last = await this.processStatus();
      return last === status;
    }).catch((error) => {
      throw new Error(`${error.message}; it is ${last}`);
    });
  }

  /** Drags files and folders of this machine onto `target` and lets them go, as the desktop tells the browser of it. */
  async drop(paths: string[], target: Locator): Promise<void> {
    const box = await target.boundingBox();
    if (box === null) throw new Error("what is dropped on is not shown");
    const place = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    const data = { items: [], files: paths, dragOperationsMask: 1 };
    const session = await this.page.context().newCDPSession(this.page);
    for (const type of ["dragEnter", "dragOver", "drop"] as const) {
      await session.send("Input.dispatchDragEvent", { type, ...place, data });
    }
    await session.detach();
  }

  async type(text: string): Promise<void> {
    await this.#focusTerminal();
    await this.page.keyboard.type(text);
  }

  async press(key: string): Promise<void> {
    await this.#focusTerminal();
    await this.page.keyboard.press(key);
  }

  /** Clicks on the end of the line that ends with `text`, as the terminal draws it. */
  async clickInTerminal(text: string): Promise<void> {
    const place = await this.page.evaluate((wanted) => {
      const rows = [...document.querySelectorAll(".xterm-rows > div")];
      const row = rows.find((each) => each.textContent?.trimEnd().endsWith(wanted));
      if (row === undefined) return null;
      const line = document.createRange();
      line.selectNodeContents(row);
      const box = line.getBoundingClientRect();
      const letter = box.width / (row.textContent ?? "").length;
      const end = (row.textContent ?? "").trimEnd().length;
      return { x: box.left + (end - 1.5) * letter, y: box.top + box.height / 2 };
    }, text);
    if (place === null) throw new Error(`the terminal draws no ${text}`);
    // A link is one once the pointer has come to rest on it.
    await this.page.mouse.move(place.x, place.y + 1);
    await this.page.mouse.move(place.x, place.y);
    await this.page.mouse.down();
    await this.page.mouse.up();
  }

  async #focusTerminal(): Promise<void> {
    await this.page.getByRole("textbox", { name: "Terminal input" }).focus();
  }
}
