/** One person's way through everything that the page offers, against the real server and in a real browser. */

import assert from "node:assert/strict";
import { dropping } from "./chapters/dropping.ts";
import { files } from "./chapters/files.ts";
import { home } from "./chapters/home.ts";
import { sandbox } from "./chapters/sandbox.ts";
import { sharing } from "./chapters/sharing.ts";
import { surviving } from "./chapters/surviving.ts";
import { touch } from "./chapters/touch.ts";
import { working } from "./chapters/working.ts";
import { JourneyFailed } from "./steps.ts";
import { World } from "./world.ts";

const world = await World.make();
let failed = 0;
try {
  const loginUrl = await world.start();
  const ide = await world.person();
  world.steps.watch(ide.page);
  await home(world, ide, loginUrl);
  await working(world, ide);
  await surviving(world, ide);
  await files(world, ide);
  await dropping(world, ide);
  await touch(world, ide);
  await sharing(world, ide);
  await sandbox(world, ide);
  await world.steps.step("the page asked nobody else, no script failed and no content was refused", async () => {
    assert.deepEqual(world.troubles, []);
  });
} catch (error) {
  failed = 1;
  if (!(error instanceof JourneyFailed)) console.log(error);
  for (const trouble of world.troubles) console.log(`trouble: ${trouble}`);
} finally {
  await world.stop();
}
console.log(world.steps.summary(failed));
process.exitCode = failed;
