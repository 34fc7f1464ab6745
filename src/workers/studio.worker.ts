/** The studio in a worker of the page: the browser's stores, its GPU and its locks behind one Comlink object. */
import { expose } from 'comlink';
import { openDevice } from '../runtime/device';
import { fetchAsset } from '../storage/assets';
import { BrowserStorage } from '../storage/browser';
import { Connection } from '../storage/hub';
import { isLocked, tryLock } from '../storage/lock';
import type { StudioEnvironment } from './environment';
import { Studio } from './studio';

/** The page's own address: a worker made from a blob learns it from its name alone. */
const page = self.name === '' ? self.location.href : self.name;
const connection = new Connection({ hosts: [new URL(page).host] });
const storage = new BrowserStorage();

const environment: StudioEnvironment = {
  hasWebGpu: 'gpu' in navigator,
  openGpu: () => openDevice('gpu' in navigator ? navigator.gpu : undefined),
  files: storage.files,
  runs: storage.runs,
  checkpoints: (run) => storage.checkpoints(run),
  demoFile: (name, options) => fetchAsset(connection, new URL(`demo/${name}`, page).href, options),
  hub: connection,
  lock: { take: () => tryLock(), isHeld: () => isLocked() },
  estimate: () => storage.estimate(),
  deleteEverything: () => storage.deleteEverything(),
};

expose(new Studio(environment));
