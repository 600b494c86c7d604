// Node 20 reads no TypeScript; Vite's module runner does, and it is installed anyway.
import { runnerImport } from "vite";

await runnerImport(new URL("./journey.ts", import.meta.url).pathname, { configFile: false, logLevel: "error" });
