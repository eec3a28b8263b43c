package daemon

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tvsctl/ipc"
)

// schemas makes JSON schemas of the types of package ipc; what they mean is in its source.
type schemas struct {
	t     *testing.T
	named map[string]object
	docs  map[string]string   // by Type and Type.Field
	enums map[string][]string // the constants of a type of strings
}

func newSchemas(t *testing.T) *schemas {
	t.Helper()
	s := &schemas{t: t, named: map[string]object{}, docs: map[string]string{}, enums: map[string][]string{}}
	names, err := filepath.Glob("../ipc/*.go")
	if err != nil || len(names) == 0 {
		t.Fatalf("package ipc: %v, %v", names, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if d, ok := d.(*ast.GenDecl); ok {
				s.read(d)
			}
		}
	}
	return s
}

// read notes the comments of types and fields, and the constants of types.
func (s *schemas) read(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			kind, ok := spec.Type.(*ast.Ident)
			if !ok {
				continue
			}
			for _, value := range spec.Values {
				if text := literal(value); text != "" {
					s.enums[kind.Name] = append(s.enums[kind.Name], text)
				}
			}
		case *ast.TypeSpec:
			name := spec.Name.Name
			s.docs[name] = comment(spec.Doc, d.Doc)
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, field := range structure.Fields.List {
				for _, id := range field.Names {
					s.docs[name+"."+id.Name] = comment(field.Doc, field.Comment)
				}
			}
		}
	}
}

func comment(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
			return text
		}
	}
	return ""
}

var ofIPC = reflect.TypeFor[ipc.Version]().PkgPath()

// of returns the schema of a type; those that have a name in package ipc stand once.
func (s *schemas) of(t reflect.Type) object {
	if t.PkgPath() != ofIPC || t.Name() == "" {
		return s.structure(t)
	}
	if s.named[t.Name()] == nil {
		s.named[t.Name()] = object{} // it may contain itself
		schema := s.structure(t)
		if doc := s.docs[t.Name()]; doc != "" {
			schema["description"] = doc
		}
		s.named[t.Name()] = schema
	}
	return object{"$ref": "#/components/schemas/" + t.Name()}
}

func (s *schemas) structure(t reflect.Type) object {
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.String:
		if values := s.enums[t.Name()]; t.PkgPath() == ofIPC && values != nil {
			return object{"type": "string", "enum": values}
		}
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return object{"type": "string", "format": "date-time"}
		}
		properties, required := object{}, []string{}
		s.fields(t, properties, &required)
		schema := object{"type": "object", "properties": properties}
		if len(required) > 0 {
			schema["required"] = required
		}
		return schema
	}
	s.t.Errorf("no schema for %v: teach it to schemas.structure", t)
	return object{}
}

// fields adds the fields of a struct as encoding/json names them.
func (s *schemas) fields(t reflect.Type, properties object, required *[]string) {
	for field := range t.Fields() {
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case tag == "-" || !field.IsExported():
			continue
		case field.Anonymous && tag == "":
			s.fields(field.Type, properties, required)
			continue
		case tag == "":
			s.t.Errorf("%v.%s has no name in JSON", t, field.Name)
			continue
		}
		property := s.of(field.Type)
		if doc := s.docs[t.Name()+"."+field.Name]; doc != "" {
			property["description"] = doc
		}
		properties[tag] = property
		if !strings.Contains(options, "omit") {
			*required = append(*required, tag)
		}
	}
}
