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

  async open(name: string): Promise<void> {
    await this.row(name).click();
    await this.page.getByRole("tab", { name, exact: true, selected: true }).waitFor();
  }

  /** Runs the open file, and waits for its terminal to be the one in front. */
  async run(command: string): Promise<void> {
    await this.button("Run").click();
    await this.terminalTab(command).last().waitFor();
    await until("the new terminal to be in front", async () => (await this.selectedTerminal()) === command);
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

  async type(text: string): Promise<void> {
    await this.#focusTerminal();
    await this.page.keyboard.type(text);
  }

  async press(key: string): Promise<void> {
    await this.#focusTerminal();
    await this.page.keyboard.press(key);
  }

  async #focusTerminal(): Promise<void> {
    await this.page.getByRole("textbox", { name: "Terminal input" }).focus();
  }
}
