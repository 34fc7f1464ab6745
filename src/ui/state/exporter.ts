import { proxy, transfer } from 'comlink';
import type { ExportRequest, ExportResult, Progress } from '../../workers/api';
import { saveFile } from '../save-file';
import { certificates } from './certificates.svelte';
import { studio } from './studio';

type SavePicker = (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;

/** Whether this browser can write straight to a file that a person chooses. */
export function canChooseFile(): boolean {
  return 'showSaveFilePicker' in window;
}

/** Exports and saves a file, and takes note of its certificate. Resolves with null when the person closes the chooser. */
export async function exportToDisk(request: ExportRequest, fileName: string, onProgress: (progress: Progress) => void): Promise<ExportResult | null> {
  const result = await exportFile(request, fileName, onProgress);
  if (result) await certificates.load();
  return result;
}

/**
 * Streamed to a chosen place where the browser can, else as a download.
 * Called from a click, because the chooser opens first.
 */
async function exportFile(request: ExportRequest, fileName: string, onProgress: (progress: Progress) => void): Promise<ExportResult | null> {
  if (!canChooseFile()) {
    const result = await studio.runExport(request, null, proxy(onProgress));
    if (result.blob) saveFile(result.fileName, result.blob);
    return result;
  }
  const handle = await chooseFile(fileName);
  if (!handle) return null;
  const file = await handle.createWritable();
  // The file's own stream cannot cross to a worker everywhere; a pipe can.
  const pipe = new TransformStream<Uint8Array, Uint8Array>();
  const written = pipe.readable.pipeTo(file as WritableStream<Uint8Array>);
  written.catch(() => undefined);
  try {
    const result = await studio.runExport(request, transfer(pipe.writable, [pipe.writable]), proxy(onProgress));
    await written;
    return result;
  } catch (thrown) {
    await removeEmpty(handle);
    throw thrown;
  }
}

/** The chooser has made an empty file where there was none; a failed export takes it away again. */
async function removeEmpty(handle: FileSystemFileHandle & { remove?: () => Promise<void> }): Promise<void> {
  try {
    if ((await handle.getFile()).size === 0) await handle.remove?.();
  } catch {
    // Gone already, or not ours to remove: why the export failed is what matters.
  }
}

async function chooseFile(suggestedName: string): Promise<FileSystemFileHandle | null> {
  try {
    return await (window as unknown as { showSaveFilePicker: SavePicker }).showSaveFilePicker({ suggestedName });
  } catch (thrown) {
    if (thrown instanceof DOMException && thrown.name === 'AbortError') return null;
    throw thrown;
  }
}
