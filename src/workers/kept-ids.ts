/** How ids of what this browser keeps begin, where they are not models'. */
export const DATASET_IDS = 'data:';
export const ADAPTER_IDS = 'adapter:';
