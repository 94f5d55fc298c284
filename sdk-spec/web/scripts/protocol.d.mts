/** The generated file as text. */
export function generate(): Promise<string>;
