/** What can be done with a file or folder, or with the whole tree. */

import type { FileEntry } from "../../core/api-types.ts";
import { mayEdit } from "../../core/model/state.ts";
import { basename, parent } from "../../core/paths.ts";
import { copyText } from "../clipboard.ts";
import type { MenuItem } from "../widgets/menu.tsx";
import type { Workbench } from "./workbench.ts";

/** `pick` opens the browser's own dialog for files or for a folder. */
export function treeMenu(
  bench: Workbench,
  file: FileEntry | null,
  pick: (directory: string, folder: boolean) => void,
): MenuItem[] {
  const { dispatch } = bench.context;
  const directory = file === null ? "/" : file.is_directory ? file.path : parent(file.path);
  const create = (folder: boolean) => () => dispatch({ type: "dialog", dialog: { kind: "create", directory, folder } });
  const items: MenuItem[] = [];
  if (file !== null && !file.is_directory)
    items.push({ label: "Open", keys: "Enter", run: () => void bench.files.open(file.id) });
  if (mayEdit(bench.state)) {
    items.push(
      { label: "New file…", run: create(false) },
      { label: "New folder…", run: create(true) },
      { label: "Upload files…", run: () => pick(directory, false) },
      { label: "Upload a folder…", run: () => pick(directory, true) },
    );
  }
  if (file === null) return items;
  items.push({ label: "Copy path", run: () => void copyPath(bench, file) });
  if (!file.is_directory) items.push({ label: "Download", run: () => download(file) });
  if (mayEdit(bench.state)) {
    items.push(
      { label: "Rename or move…", keys: "F2", run: () => dispatch({ type: "dialog", dialog: { kind: "move", file } }) },
      {
        label: "Delete…",
        keys: "Delete",
        danger: true,
        run: () => dispatch({ type: "dialog", dialog: { kind: "delete", file } }),
      },
    );
  }
  return items;
}

async function copyPath(bench: Workbench, file: FileEntry): Promise<void> {
  try {
    await copyText(`/workspace${file.path}`);
  } catch {
    bench.context.dispatch({ type: "notice", tone: "error", text: "The browser did not let it be copied." });
  }
}

function download(file: FileEntry): void {
  const link = document.createElement("a");
  link.href = `/api/files/${file.id}/raw`;
  link.download = basename(file.path);
  link.click();
}
