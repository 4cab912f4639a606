import { arrayLiteral, type PlainValue } from './array-literal.js';

/** A column of rows that travel to PostgreSQL as one array a column. */
export interface Column<Row> {
  name: string;
  /** PostgreSQL type of a value. */
  type: string;
  value: (row: Row) => unknown;
  /** Values without any character that has a meaning in an array's text: see {@link arrayLiteral}. */
  isPlain?: boolean;
}

/**
 * The columns of an `unnest`, once: its parameters, names and values cannot come apart. Rows are sent so since one array
 * a column costs PostgreSQL less than one parameter a value.
 */
export class ColumnList<Row> {
  constructor(private readonly columns: readonly Column<Row>[]) {}

  /** How many parameters they take. */
  get length(): number {
    return this.columns.length;
  }

  /**
   * `unnest($1::uuid[], …) as alias(id, …)`
   * @param first number of the first parameter
   */
  unnest(alias: string, first = 1): string {
    const parameters = this.columns.map(({ type }, index) => `$${first + index}::${type}[]`);
    return `unnest(${parameters.join(', ')}) as ${alias}(${this.columns.map(({ name }) => name).join(', ')})`;
  }

  /** The parameters for these rows, in the order of {@link unnest}. */
  parameters(rows: readonly Row[]): unknown[] {
    return this.columns.map(({ value, isPlain }) => {
      const values = rows.map(value);
      return isPlain ? arrayLiteral(values as PlainValue[]) : values;
    });
  }
}
