import assert from "node:assert/strict";
import { assertAccessible } from "../accessibility.ts";
import type { IdePage } from "../ide-page.ts";
import { until } from "../until.ts";
import { PHONE, type World } from "../world.ts";

/** A finger's least target, in pixels. */
const TARGET_PX = 44;

/** The same person's phone. */
export async function touch(world: World, ide: IdePage): Promise<void> {
  const step = world.steps.step.bind(world.steps);
  const phone = await world.person(PHONE);
  const { page } = phone;
  const keys = (of: IdePage) => of.page.getByRole("group", { name: "Keys for the terminal" });
  const tap = (name: string) => keys(phone).getByRole("button", { name, exact: true }).tap();

  await step("on a phone a terminal has the keys that the keyboard lacks", async () => {
    await page.context().addCookies(await ide.page.context().cookies());
    await page.goto(ide.page.url());
    world.steps.watch(page);
    await phone.newTerminal();
    await keys(phone).waitFor();
    for (const button of await keys(phone).getByRole("button").all()) {
      const box = await button.boundingBox();
      assert(box !== null && box.width >= TARGET_PX && box.height >= TARGET_PX, `a key is ${JSON.stringify(box)}`);
    }
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
    await assertAccessible(page, "a terminal on a phone");
    assert.equal(await keys(ide).count(), 0, "a mouse comes with a keyboard");
  });

  await step("its keys type what a keyboard's do", async () => {
    await phone.type("cat hel");
    await tap("Tab");
    await phone.type("\r");
    await phone.terminalShows(/name = input/);
    await phone.type("clear; echo asleep; sleep 1000\r");
    await phone.terminalShows(/^asleep$/m);
    await tap("Ctrl-C");
    await phone.type("echo back $?\r");
    await phone.terminalShows(/^back 130$/m);
    await tap("Arrow up");
    await phone.type("\r");
    await phone.terminalShows(/^back 0$/m);
    await phone.type("clear; echo ready; read -rsn1 key; printf 'code %d\\n' \"'$key\"\r");
    await phone.terminalShows(/^ready$/m);
    await tap("Esc");
    await phone.terminalShows(/^code 27$/m);
  });

  await step("an arrow that is held goes on, and stops when it is let go", async () => {
    await phone.type('clear; echo ready; read -r key; printf %s "$key" | wc -c\r');
    await phone.terminalShows(/^ready$/m);
    const box = await keys(phone).getByRole("button", { name: "Arrow up" }).boundingBox();
    assert(box !== null);
    const touchPoints = [{ x: box.x + box.width / 2, y: box.y + box.height / 2 }];
    const session = await page.context().newCDPSession(page);
    await session.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints });
    // The terminal shows each as ^[[A.
    await phone.terminalShows(/(\^\[\[A){8}/);
    await session.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
    await session.detach();
    await phone.type("\r");
    const bytes = /^(\d+)$/m.exec(await phone.terminalShows(/^\d+$/m))?.[1];
    assert.equal(Number(bytes) % 3, 0, "each was whole");
    // What is not held comes once.
    await phone.type('clear; echo ready; read -r key; printf %s "$key" | wc -c\r');
    await phone.terminalShows(/^ready$/m);
    await tap("Arrow up");
    await phone.type("\r");
    await phone.terminalShows(/^3$/m);
  });

  await step("Ctrl counts for the next key, and for no more", async () => {
    const ctrl = keys(phone).getByRole("button", { name: "Ctrl", exact: true });
    await phone.type("clear; echo ready; cat\r");
    await phone.terminalShows(/^ready$/m);
    await phone.type("cat is here\r");
    await phone.terminalShows(/^cat is here\ncat is here$/m);
    await ctrl.tap();
    assert.equal(await ctrl.getAttribute("aria-pressed"), "true");
    await assertAccessible(page, "a terminal with Ctrl pressed");
    // Where the focus is after the tap, the letter goes too.
    await page.keyboard.type("c");
    await until("Ctrl to be let go", async () => (await ctrl.getAttribute("aria-pressed")) === "false");
    await phone.type("echo code $?\r");
    await phone.terminalShows(/^code 130$/m);
    await phone.type("clear; echo ready; read -rsn6 key; printf 'key %q\\n' \"$key\"\r");
    await phone.terminalShows(/^ready$/m);
    await ctrl.tap();
    await tap("Arrow left");
    await phone.terminalShows(/^key \$'\\E\[1;5D'$/m);
    await ctrl.tap();
    await ctrl.tap();
    await phone.type("exit\r");
    await phone.ends("done");
    assert(await keys(phone).getByRole("button", { name: "Tab" }).isDisabled());
    await page.context().close();
    world.steps.watch(ide.page);
  });
}
