/** How ids of what this browser keeps begin, where they are not models'. */
export const DATASET_IDS = 'data:';
export const ADAPTER_IDS = 'adapter:';
/** Followed by the run's or adapter's own id. */
export const CERTIFICATE_IDS = 'certificate:';
