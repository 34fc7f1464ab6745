import type { AdapterSummary, AdapterUse, Recipe } from '../workers/api';
import { formatAgo } from './format';

type LoraRecipe = NonNullable<Recipe['lora']>;

/** Strongest that an adapter can be set: half as much again as it was trained. */
export const MOST_STRENGTH = 1.5;

/** A strength or weight without needless digits: "1", "0.5", "0.35". */
export function formatStrength(value: number): string {
  return String(Number(value.toFixed(2)));
}

/** Where an adapter comes from: "trained here", "imported, made for org/model", "0.7 × Pirate + 0.3 × Poet". */
export function originWords({ origin, madeFor, modelName, parts }: Pick<AdapterSummary, 'origin' | 'madeFor' | 'modelName' | 'parts'>): string {
  if (origin === 'run') return 'trained here';
  if (origin === 'merged') return `merged: ${parts.map(({ name, weight }) => `${formatStrength(weight)} × ${name}`).join(' + ')}`;
  return madeFor !== null && madeFor !== modelName ? `imported, made for ${madeFor}` : 'imported';
}

/** Names for a list to choose from: those that several share are told apart by their age. */
export function distinctName({ name, createdAt }: Pick<AdapterSummary, 'name' | 'createdAt'>, list: readonly Pick<AdapterSummary, 'name'>[]): string {
  return list.filter((other) => other.name === name).length > 1 ? `${name}, ${formatAgo(createdAt)}` : name;
}

/** An adapter's size in words: "size 16", "sizes up to 16 (DoRA)". */
export function sizeWords({ r, rank_pattern, use_dora }: AdapterSummary['lora']): string {
  const ranks = Object.values(rank_pattern);
  const size = ranks.length === 0 ? `size ${r}` : `sizes up to ${Math.max(r, ...ranks)}`;
  return use_dora ? `${size} (DoRA)` : size;
}

/** Who answers, and how strongly: "adapter on", "at 0.5", "off: answers as Base", "on, with Poet at 0.3". */
export function workWords(own: { on: boolean; strength: number } | null, others: readonly { name: string; on: boolean; strength: number }[]): string {
  const isAtWork = ({ on, strength }: { on: boolean; strength: number }): boolean => on && strength !== 0;
  const more = others.filter(isAtWork).map(({ name, strength }) => (strength === 1 ? name : `${name} at ${formatStrength(strength)}`));
  if (own && isAtWork(own)) {
    const first = own.strength === 1 ? 'adapter on' : `adapter at ${formatStrength(own.strength)}`;
    return more.length > 0 ? `${first}, with ${more.join(', ')}` : first;
  }
  if (more.length === 0) return 'switched off: answers as Base';
  return own ? `adapter off, ${more.join(', ')} on` : more.join(', ');
}

/** The strength that a request carries: 0 for what is switched off. */
export function useOf({ id, on, strength }: { id: string; on: boolean; strength: number }): AdapterUse {
  return { id, strength: on ? strength : 0 };
}

/** Settings in the shape of an adapter, to go on with it. Dropout and what else belongs to training stays. */
export function followAdapter(lora: LoraRecipe, { id, lora: shape }: Pick<AdapterSummary, 'id' | 'lora'>): LoraRecipe {
  return { ...lora, ...structuredClone(shape), init_adapter: id };
}

/** In what settings differ from the adapter that they start from, in words; null where they agree. `all`: the model's projections. */
export function disagreement(lora: LoraRecipe, { name, lora: shape }: Pick<AdapterSummary, 'name' | 'lora'>, all: readonly string[]): string | null {
  const targets = (value: LoraRecipe['target_modules']): string => (value === 'all-linear' ? [...all] : [...value]).sort().join();
  const sorted = (pattern: Record<string, number>): string => JSON.stringify(Object.entries(pattern).sort());
  if (lora.r !== shape.r) return `${name} has the size ${shape.r}, and the settings ask for ${lora.r}.`;
  if (sorted(lora.rank_pattern) !== sorted(shape.rank_pattern)) return `${name} has other sizes in single layers than the settings ask for.`;
  if (targets(lora.target_modules) !== targets(shape.target_modules)) return `${name} is on other layers than the settings choose.`;
  if (lora.use_dora !== shape.use_dora) return `${name} ${shape.use_dora ? 'is' : 'is not'} of the DoRA kind, and the settings ask for ${shape.use_dora ? 'a plain one' : 'that kind'}.`;
  return null;
}
