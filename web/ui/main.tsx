import { render } from "solid-js/web";
import { App } from "./app.tsx";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/home.css";
import "./styles/dialog.css";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has a #root");
render(() => <App />, root);
