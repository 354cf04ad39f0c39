package delta

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The actions of the Delta protocol, as far as we write them. The tags are those of the log and of checkpoints.
//
// Part of the format of Delta, do not change.
type (
	protocol struct {
		MinReaderVersion int32 `json:"minReaderVersion" parquet:"minReaderVersion,optional"`
		MinWriterVersion int32 `json:"minWriterVersion" parquet:"minWriterVersion,optional"`
	}
	format struct {
		Provider string            `json:"provider" parquet:"provider,optional"`
		Options  map[string]string `json:"options" parquet:"options"`
	}
	metaData struct {
		ID               string            `json:"id" parquet:"id,optional"`
		Name             string            `json:"name" parquet:"name,optional"`
		Format           format            `json:"format" parquet:"format"`
		SchemaString     string            `json:"schemaString" parquet:"schemaString,optional"`
		PartitionColumns []string          `json:"partitionColumns" parquet:"partitionColumns,list"`
		Configuration    map[string]string `json:"configuration" parquet:"configuration"`
		CreatedTime      int64             `json:"createdTime" parquet:"createdTime,optional"`
	}
	txn struct {
		AppID       string `json:"appId" parquet:"appId,optional"`
		Version     int64  `json:"version" parquet:"version,optional"`
		LastUpdated int64  `json:"lastUpdated" parquet:"lastUpdated,optional"`
	}
	add struct {
		Path             string            `json:"path" parquet:"path,optional"`
		PartitionValues  map[string]string `json:"partitionValues" parquet:"partitionValues"`
		Size             int64             `json:"size" parquet:"size,optional"`
		ModificationTime int64             `json:"modificationTime" parquet:"modificationTime,optional"`
		DataChange       bool              `json:"dataChange" parquet:"dataChange,optional"`
		Stats            string            `json:"stats" parquet:"stats,optional"`
	}
	remove struct {
		Path              string `json:"path" parquet:"path,optional"`
		DeletionTimestamp int64  `json:"deletionTimestamp" parquet:"deletionTimestamp,optional"`
		DataChange        bool   `json:"dataChange" parquet:"dataChange,optional"`
		// DeletionVector is that of the file as another program added it: a file goes only with it.
		DeletionVector json.RawMessage `json:"deletionVector,omitempty" parquet:"-"`
	}
	commitInfo struct {
		// Runfold comes first: what a crash has left of a file is known to be ours by that. Other readers pass over it.
		Runfold             *State            `json:"runfold"`
		Timestamp           int64             `json:"timestamp"`
		Operation           string            `json:"operation"`
		OperationParameters map[string]string `json:"operationParameters"`
		UserMetadata        string            `json:"userMetadata"` // for people: "describe history" shows it
		EngineInfo          string            `json:"engineInfo"`
	}
)

// action is one line of a version, or one row of a checkpoint: exactly one member is set.
type action struct {
	CommitInfo *commitInfo `json:"commitInfo,omitempty" parquet:"-"`
	Protocol   *protocol   `json:"protocol,omitempty" parquet:"protocol,optional"`
	MetaData   *metaData   `json:"metaData,omitempty" parquet:"metaData,optional"`
	Txn        *txn        `json:"txn,omitempty" parquet:"txn,optional"`
	Remove     *remove     `json:"remove,omitempty" parquet:"remove,optional"`
	Add        *add        `json:"add,omitempty" parquet:"add,optional"`
}

// encode is a version as a file: one action a line.
func encode(all []action) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, a := range all {
		if err := e.Encode(a); err != nil {
			panic(fmt.Sprintf("delta: internal error: encode action: %v", err))
		}
	}
	return b.Bytes()
}

// ourStart is how every version of ours begins.
const ourStart = `{"commitInfo":{"runfold":{`

// commit is a version that was read.
type commit struct {
	state *State // nil: another program wrote it
	torn  bool   // it is ours, and not complete: a publisher was killed, or is at work, where links are missing
}

// decode reads a version of anybody.
func decode(v int64, data []byte) commit {
	if bytes.IndexByte(data, 0) >= 0 { // what a file system puts in the place of bytes that it has lost; JSON has no such byte
		return commit{torn: true}
	}
	if !bytes.HasPrefix(data, []byte(ourStart)) {
		return commit{torn: bytes.HasPrefix([]byte(ourStart), data)}
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	var first action
	if err := json.Unmarshal(line, &first); err != nil || first.CommitInfo == nil || first.CommitInfo.Runfold == nil {
		return commit{torn: true}
	}
	s := first.CommitInfo.Runfold
	if !bytes.HasSuffix(data, []byte("\n")) || bytes.Count(data, []byte("\n")) != s.Lines {
		return commit{torn: true}
	}
	s.Version = v
	return commit{state: s}
}
