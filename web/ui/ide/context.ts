/** What the parts of a workspace's page share. */

import type { Accessor } from "solid-js";
import type { Api } from "../../core/api.ts";
import type { Action, IdeState } from "../../core/model/state.ts";

export interface IdeContext {
  readonly api: Api;
  readonly workspaceId: string;
  readonly state: Accessor<IdeState>;
  readonly dispatch: (action: Action) => void;
  /** The session ended: the page goes back to signing in. */
  readonly signedOut: () => void;
}
