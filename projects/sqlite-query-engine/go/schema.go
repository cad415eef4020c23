package main

import "strings"

// rowidColumn stands for the rowid, and for the INTEGER PRIMARY KEY that is its alias.
const rowidColumn = -1

type column struct {
	name       string
	affinity   affinity
	collation  collation
	field      int // position in the table's record; -1 when not stored
	fallback   value
	fallbackOK bool // the DEFAULT is a constant
	virtual    bool
	any        bool // declared ANY, which means "as it is" in a STRICT table
	integer    bool // declared INTEGER, which is what makes a primary key the rowid
}

type indexKey struct {
	column     int
	collation  collation
	descending bool
}

// index is a secondary index, or the primary key that a WITHOUT ROWID table is stored in.
type index struct {
	name     string
	root     uint32
	unique   bool
	primary  bool       // the table itself, WITHOUT ROWID
	keys     []indexKey // all fields of an entry: the declared ones, then rowid or primary key
	declared int
	fields   map[int]int // column -> field of the entry
}

type table struct {
	name         string
	root         uint32
	columns      []column
	rowidAlias   int // the INTEGER PRIMARY KEY, or -1
	withoutRowid bool
	strict       bool
	primary      *index // WITHOUT ROWID only
	indexes      []*index
}

// schemaRow is one row of sqlite_schema.
type schemaRow struct {
	kind, name, sql string
	root            uint32
}

// declaration is what CREATE TABLE says about keys, before roots and names are known.
type declaration struct {
	table  *table
	keys   []tableKey
	format uint32 // schema format: below 4, DESC is ignored
}

type tableKey struct {
	keys    []indexKey
	primary bool
	rowid   bool // INTEGER PRIMARY KEY, which has no index of its own
}

// loadTable finds a table and its indexes in sqlite_schema.
func loadTable(p *pager, name string) (*table, error) {
	if strings.EqualFold(name, "sqlite_schema") || strings.EqualFold(name, "sqlite_master") {
		return schemaTable(), nil
	}
	rows, err := readSchema(p, name)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if !strings.EqualFold(row.name, name) {
			continue
		}
		switch row.kind {
		case "view":
			return nil, badInput("%s is a view: views are not supported", row.name)
		case "table":
			return buildTable(p, row, rows)
		}
	}
	return nil, badInput("no such table: %s", name)
}

func schemaTable() *table {
	t := &table{name: "sqlite_schema", root: 1, rowidAlias: -1}
	for i, name := range []string{"type", "name", "tbl_name", "rootpage", "sql"} {
		a := affinityText
		if name == "rootpage" {
			a = affinityInteger
		}
		t.columns = append(t.columns, column{name: name, affinity: a, field: i, fallbackOK: true})
	}
	return t
}

// readSchema gives the rows of sqlite_schema that belong to one table, in order.
func readSchema(p *pager, name string) ([]schemaRow, error) {
	if p.pageCount == 0 {
		return nil, nil
	}
	var rec record
	var c cursor
	c.open(p, 1, false, &rec)
	var rows []schemaRow
	for ok := c.first(); ok; ok = c.next() {
		if !c.load() {
			break
		}
		var fields [5]value
		for i := range fields {
			fields[i], _ = rec.value(i)
		}
		if rec.err != nil {
			break
		}
		if !strings.EqualFold(fields[2].text, name) {
			continue
		}
		row := schemaRow{
			kind: strings.Clone(fields[0].text), name: strings.Clone(fields[1].text),
			sql: strings.Clone(fields[4].text),
		}
		if root := fields[3]; root.kind == kindInt && root.int() >= 0 && root.int() < 1<<32 {
			row.root = uint32(root.int())
		}
		rows = append(rows, row)
	}
	return rows, rec.err
}

func buildTable(p *pager, row schemaRow, rows []schemaRow) (*table, error) {
	format := uint32(p.data[47])
	d, err := parseTable(row.sql, format)
	if err != nil {
		return nil, badInput("%s: table %s: %v", p.path, row.name, err)
	}
	t := d.table
	t.name, t.root = row.name, row.root
	if t.withoutRowid {
		if err := d.storeInPrimaryKey(); err != nil {
			return nil, badInput("%s: table %s: %v", p.path, row.name, err)
		}
	}
	for _, r := range rows {
		if r.kind != "index" {
			continue
		}
		x, err := d.buildIndex(r)
		if err != nil {
			return nil, badInput("%s: index %s: %v", p.path, r.name, err)
		}
		if x != nil {
			t.indexes = append(t.indexes, x)
		}
	}
	return t, nil
}

// storeInPrimaryKey lays out the records of a WITHOUT ROWID table: key columns first.
func (d *declaration) storeInPrimaryKey() error {
	t := d.table
	for _, k := range d.keys {
		if !k.primary {
			continue
		}
		x := &index{name: t.name, root: t.root, unique: true, primary: true}
		for _, key := range k.keys {
			if !x.hasColumn(key.column) {
				x.keys = append(x.keys, key)
			}
		}
		x.declared = len(x.keys)
		for i := range t.columns {
			if !x.hasColumn(i) && !t.columns[i].virtual {
				x.keys = append(x.keys, indexKey{column: i, collation: t.columns[i].collation})
			}
		}
		x.number()
		for column, field := range x.fields {
			t.columns[column].field = field
		}
		t.primary = x
		return nil
	}
	return badInput("WITHOUT ROWID without a PRIMARY KEY")
}

func (x *index) hasColumn(column int) bool {
	for _, key := range x.keys {
		if key.column == column {
			return true
		}
	}
	return false
}

// number records at which field of an entry each column is.
func (x *index) number() {
	x.fields = make(map[int]int, len(x.keys))
	for field, key := range x.keys {
		if _, known := x.fields[key.column]; !known {
			x.fields[key.column] = field
		}
	}
}

// buildIndex makes an index of its row in sqlite_schema; nil when the engine never uses it.
func (d *declaration) buildIndex(row schemaRow) (*index, error) {
	x := &index{name: row.name, root: row.root}
	if row.sql == "" {
		key := d.automaticKey(row.name)
		if key == nil {
			return nil, badInput("belongs to no UNIQUE or PRIMARY KEY of the table")
		}
		x.unique = true
		x.keys = append(x.keys, key.keys...)
	} else {
		usable, err := d.parseIndex(row.sql, x)
		if err != nil || !usable {
			return nil, err
		}
	}
	x.declared = len(x.keys)
	if d.table.withoutRowid {
		for _, key := range d.table.primary.keys[:d.table.primary.declared] {
			if !x.hasKey(key) {
				x.keys = append(x.keys, key)
			}
		}
	} else {
		x.keys = append(x.keys, indexKey{column: rowidColumn})
	}
	x.number()
	return x, nil
}

func (x *index) hasKey(key indexKey) bool {
	for _, k := range x.keys[:x.declared] {
		if k.column == key.column && k.collation == key.collation {
			return true
		}
	}
	return false
}

// automaticKey finds the constraint of sqlite_autoindex_<table>_<n>: SQLite numbers the
// constraints that need an index in the order of the text, leaving out duplicates.
func (d *declaration) automaticKey(name string) *tableKey {
	suffix := name[strings.LastIndexByte(name, '_')+1:]
	wanted := 0
	for i := 0; i < len(suffix) && i < 5 && isDigit(suffix[i]); i++ {
		wanted = wanted*10 + int(suffix[i]-'0')
	}
	var seen []*tableKey
	for i := range d.keys {
		key := &d.keys[i]
		if key.rowid || duplicateKey(seen, key) {
			continue
		}
		if seen = append(seen, key); len(seen) == wanted {
			return key
		}
	}
	return nil
}

func duplicateKey(seen []*tableKey, key *tableKey) bool {
	for _, other := range seen {
		same := len(other.keys) == len(key.keys)
		for i := 0; same && i < len(key.keys); i++ {
			same = other.keys[i].column == key.keys[i].column && other.keys[i].collation == key.keys[i].collation
		}
		if same {
			return true
		}
	}
	return false
}

// parseTable reads a CREATE TABLE statement as sqlite_schema stores it.
func parseTable(sql string, format uint32) (*declaration, error) {
	p := &parser{sql: sql, tokens: lex(sql)}
	d := &declaration{table: &table{rowidAlias: -1}, format: format}
	p.expect("CREATE")
	if p.is("VIRTUAL") {
		return nil, badInput("virtual tables are not supported")
	}
	p.expect("TABLE")
	p.take()
	p.expect("(")
	for p.err == nil {
		switch p.peek().upper {
		case "CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN":
			d.tableConstraint(p)
		default:
			d.column(p)
		}
		// Commas between table constraints may be left out.
		if !p.accept(",") && p.accept(")") {
			break
		}
		if p.peek().kind == tokenEnd {
			p.failNear()
		}
	}
	for p.err == nil && p.peek().kind != tokenEnd {
		switch {
		case p.accept("WITHOUT"):
			p.expect("ROWID")
			d.table.withoutRowid = true
		case p.accept("STRICT"):
			d.table.strict = true
		case !p.accept(",") && !p.accept(";"):
			p.failNear()
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	d.finish()
	return d, nil
}

// finish settles what depends on the whole statement.
func (d *declaration) finish() {
	t := d.table
	field := 0
	for i := range t.columns {
		c := &t.columns[i]
		c.field = -1
		if !c.virtual {
			c.field = field
			field++
		}
		if c.any && t.strict {
			c.affinity = affinityBlob
		}
		if c.fallbackOK {
			c.fallback = c.affinity.apply(c.fallback)
		}
	}
	if t.withoutRowid {
		// Here INTEGER PRIMARY KEY is an ordinary key, made after all others.
		t.rowidAlias = -1
		for i, k := range d.keys {
			if k.rowid {
				k.rowid = false
				d.keys = append(append(d.keys[:i:i], d.keys[i+1:]...), k)
				break
			}
		}
		return
	}
	for i := range d.keys {
		for j := range d.keys[i].keys {
			if key := &d.keys[i].keys[j]; key.column == t.rowidAlias {
				key.column = rowidColumn
			}
		}
	}
}

// column reads one column definition.
func (d *declaration) column(p *parser) {
	t := p.peek()
	if t.kind != tokenName && t.kind != tokenQuoted && t.kind != tokenText {
		p.failNear()
		return
	}
	c := column{name: p.take().text, fallbackOK: true}
	begin := p.peek().begin
	end := begin
	for (p.isName() || p.peek().kind == tokenText) && !(p.is("GENERATED") && p.peekAt(1).upper == "ALWAYS") {
		end = p.take().end
	}
	if p.is("(") && end > begin {
		p.skipParentheses()
		end = p.previousEnd()
	}
	if p.err != nil {
		return
	}
	declared := p.sql[begin:end]
	c.affinity = affinityOfType(declared)
	c.any = strings.EqualFold(declared, "ANY")
	c.integer = strings.EqualFold(declared, "INTEGER")
	d.table.columns = append(d.table.columns, c)
	d.columnConstraints(p, len(d.table.columns)-1)
}

func (d *declaration) columnConstraints(p *parser, number int) {
	for p.err == nil {
		switch p.peek().upper {
		case "CONSTRAINT":
			p.take()
			p.take()
		case "PRIMARY":
			p.take()
			p.expect("KEY")
			key := indexKey{column: number, descending: p.is("DESC") && d.format >= 4}
			alias := d.table.columns[number].integer && !p.is("DESC")
			if !p.accept("DESC") {
				p.accept("ASC")
			}
			p.skipConflict()
			p.accept("AUTOINCREMENT")
			d.addPrimary([]indexKey{key}, alias)
		case "UNIQUE":
			p.take()
			p.skipConflict()
			d.keys = append(d.keys, tableKey{keys: []indexKey{{column: number}}})
		case "NOT":
			p.take()
			p.expect("NULL")
			p.skipConflict()
		case "NULL":
			p.take()
			p.skipConflict()
		case "CHECK":
			p.take()
			p.skipParentheses()
		case "DEFAULT":
			p.take()
			d.fallback(p, &d.table.columns[number])
		case "COLLATE":
			p.take()
			d.table.columns[number].collation = p.collationName()
		case "REFERENCES":
			p.skipReferences()
		case "GENERATED", "AS":
			p.accept("GENERATED")
			p.accept("ALWAYS")
			p.expect("AS")
			p.skipParentheses()
			d.table.columns[number].virtual = !p.accept("STORED")
			p.accept("VIRTUAL")
		default:
			d.applyCollation(number)
			return
		}
	}
}

// applyCollation gives the keys made by a column's own constraints the column's collation,
// which may be written after them.
func (d *declaration) applyCollation(number int) {
	for i := range d.keys {
		if keys := d.keys[i].keys; len(keys) == 1 && keys[0].column == number {
			keys[0].collation = d.table.columns[number].collation
		}
	}
}

func (d *declaration) addPrimary(keys []indexKey, alias bool) {
	if alias {
		d.table.rowidAlias = keys[0].column
	}
	d.keys = append(d.keys, tableKey{keys: keys, primary: true, rowid: alias})
}

func (p *parser) collationName() collation {
	name := p.name()
	c, ok := collationByName(name)
	if !ok {
		p.fail("no such collation sequence: %s", name)
	}
	return c
}

// fallback reads the value after DEFAULT.
func (d *declaration) fallback(p *parser, c *column) {
	begin := p.peek().begin
	switch t := p.peek(); {
	case t.upper == "(":
		p.skipParentheses()
	case t.upper == "+" || t.upper == "-":
		p.take()
		p.take()
	case t.kind == tokenName && t.upper != "NULL" && t.upper != "TRUE" && t.upper != "FALSE":
		p.take()
		c.fallback = textValue(t.text)
		c.fallbackOK = !strings.HasPrefix(t.upper, "CURRENT_")
		return
	case t.kind == tokenQuoted:
		p.take()
		c.fallback = textValue(t.text)
		return
	default:
		p.take()
	}
	if p.err == nil {
		c.fallback, c.fallbackOK = evaluateConstant(p.sql[begin:p.previousEnd()])
	}
}

// evaluateConstant evaluates an expression that names no column.
func evaluateConstant(sql string) (value, bool) {
	p := &parser{sql: sql, tokens: lex(sql)}
	e := p.expression()
	if p.err != nil || p.peek().kind != tokenEnd {
		return null, false
	}
	r := &resolver{}
	if r.resolve(e, inResult); r.err != nil {
		return null, false
	}
	c := &compiler{constants: &frame{}}
	v := c.compile(e)(c.constants)
	return v, c.constants.err == nil
}

func (d *declaration) tableConstraint(p *parser) {
	if p.accept("CONSTRAINT") {
		p.take()
	}
	switch {
	case p.accept("PRIMARY"):
		p.expect("KEY")
		keys := d.keyColumns(p)
		p.skipConflict()
		if p.err == nil {
			d.addPrimary(keys, len(keys) == 1 && d.table.columns[keys[0].column].integer)
		}
	case p.accept("UNIQUE"):
		keys := d.keyColumns(p)
		p.skipConflict()
		d.keys = append(d.keys, tableKey{keys: keys})
	case p.accept("CHECK"):
		p.skipParentheses()
		p.skipConflict()
	case p.accept("FOREIGN"):
		p.expect("KEY")
		p.skipParentheses()
		p.skipReferences()
	default:
		p.failNear()
	}
}

// keyColumns reads the column list of PRIMARY KEY or UNIQUE.
func (d *declaration) keyColumns(p *parser) []indexKey {
	p.expect("(")
	var keys []indexKey
	for p.err == nil {
		key, ok := d.keyColumn(p)
		if !ok {
			p.failNear()
			break
		}
		keys = append(keys, key)
		p.accept("AUTOINCREMENT")
		if !p.accept(",") {
			break
		}
	}
	p.expect(")")
	return keys
}

// keyColumn reads one column of an index; ok = false when it is an expression.
func (d *declaration) keyColumn(p *parser) (key indexKey, ok bool) {
	t := p.peek()
	if t.kind != tokenName && t.kind != tokenQuoted && t.kind != tokenText {
		return key, false
	}
	number := d.table.find(t.text)
	if number < 0 {
		return key, false
	}
	p.take()
	key = indexKey{column: number, collation: d.table.columns[number].collation}
	if p.accept("COLLATE") {
		key.collation = p.collationName()
	}
	key.descending = p.is("DESC") && d.format >= 4
	if !p.accept("DESC") {
		p.accept("ASC")
	}
	if p.accept("NULLS") { // only the default order can be stored
		p.take()
	}
	return key, p.is(",") || p.is(")") || p.is("AUTOINCREMENT")
}

// find gives the number of a column, or -1.
func (t *table) find(name string) int {
	for i := range t.columns {
		if strings.EqualFold(t.columns[i].name, name) {
			return i
		}
	}
	return -1
}

// parseIndex reads a CREATE INDEX statement. Partial and expression indexes are not usable.
func (d *declaration) parseIndex(sql string, x *index) (usable bool, err error) {
	p := &parser{sql: sql, tokens: lex(sql)}
	p.expect("CREATE")
	x.unique = p.accept("UNIQUE")
	p.expect("INDEX")
	p.take()
	p.expect("ON")
	p.take()
	p.expect("(")
	for p.err == nil {
		key, ok := d.keyColumn(p)
		if !ok {
			return false, p.err
		}
		if key.column == d.table.rowidAlias {
			key.column = rowidColumn
		}
		x.keys = append(x.keys, key)
		if !p.accept(",") {
			break
		}
	}
	p.expect(")")
	return p.err == nil && !p.is("WHERE"), p.err
}

func (p *parser) skipParentheses() {
	p.expect("(")
	for depth := 1; depth > 0 && p.err == nil; {
		switch t := p.take(); {
		case t.upper == "(":
			depth++
		case t.upper == ")":
			depth--
		case t.kind == tokenEnd || t.kind == tokenBad:
			p.failNear()
		}
	}
}

func (p *parser) skipConflict() {
	if p.is("ON") && p.peekAt(1).upper == "CONFLICT" {
		p.take()
		p.take()
		p.take()
	}
}

func (p *parser) skipReferences() {
	p.expect("REFERENCES")
	p.take()
	if p.is("(") {
		p.skipParentheses()
	}
	for p.err == nil {
		switch {
		case p.is("ON") || p.is("MATCH"):
			// ON DELETE|UPDATE SET NULL|SET DEFAULT|CASCADE|RESTRICT|NO ACTION; MATCH name
			if p.take().upper == "ON" {
				p.take()
			}
			if word := p.take().upper; word == "SET" || word == "NO" {
				p.take()
			}
		case p.is("DEFERRABLE"), p.is("NOT") && p.peekAt(1).upper == "DEFERRABLE":
			p.accept("NOT")
			p.take()
			if p.accept("INITIALLY") {
				p.take()
			}
		default:
			return
		}
	}
}
