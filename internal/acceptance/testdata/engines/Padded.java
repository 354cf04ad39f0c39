import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.ParquetReadOptions;
import org.apache.parquet.HadoopReadOptions;
import org.apache.parquet.column.page.PageReadStore;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.convert.GroupRecordConverter;
import org.apache.parquet.filter2.compat.FilterCompat;
import org.apache.parquet.filter2.predicate.FilterApi;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.parquet.io.*;
import org.apache.parquet.io.api.Binary;
import org.apache.parquet.schema.*;

/** Reads an index with parquet-java, and prints a line of JSON for each row: in splits of the file as Spark and Hadoop make them, or what a filter finds. */
public class Padded {
    static PrintStream out;

    public static void main(String[] args) throws Exception {
        out = new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false, "UTF-8");
        Path path = new Path(args[0]);
        if (args[1].equals("split")) {
            split(path, Long.parseLong(args[2]));
        } else if (args[1].equals("key")) {
            for (String key : args[2].split(",")) {
                find(path, FilterCompat.get(FilterApi.eq(FilterApi.binaryColumn("_key"), Binary.fromString(key))));
            }
        } else {
            var seq = FilterApi.longColumn("snapshot_seq");
            find(path, FilterCompat.get(FilterApi.and(FilterApi.gtEq(seq, Long.parseLong(args[2])), FilterApi.ltEq(seq, Long.parseLong(args[3])))));
        }
        out.flush();
    }

    static void split(Path path, long size) throws Exception {
        Configuration conf = new Configuration();
        long length = new File(path.toString()).length();
        for (long from = 0; from < length; from += size) {
            ParquetReadOptions options = HadoopReadOptions.builder(conf).withRange(from, Math.min(from + size, length)).usePageChecksumVerification(true).build();
            try (ParquetFileReader r = ParquetFileReader.open(HadoopInputFile.fromPath(path, conf), options)) {
                MessageType schema = r.getFooter().getFileMetaData().getSchema();
                MessageColumnIO io = new ColumnIOFactory().getColumnIO(schema);
                for (PageReadStore group; (group = r.readNextRowGroup()) != null; ) {
                    RecordReader<Group> rows = io.getRecordReader(group, new GroupRecordConverter(schema));
                    for (long i = 0; i < group.getRowCount(); i++) {
                        print(rows.read());
                    }
                }
            }
        }
    }

    static void find(Path path, FilterCompat.Filter filter) throws Exception {
        try (ParquetReader<Group> r = ParquetReader.builder(new GroupReadSupport(), path).withFilter(filter).build()) {
            for (Group row; (row = r.read()) != null; ) {
                print(row);
            }
        }
    }

    static void print(Group row) {
        StringBuilder b = new StringBuilder("{");
        GroupType type = row.getType();
        for (int i = 0; i < type.getFieldCount(); i++) {
            b.append(i > 0 ? "," : "").append(text(type.getFieldName(i))).append(':');
            if (row.getFieldRepetitionCount(i) == 0) {
                b.append("null");
            } else switch (type.getType(i).asPrimitiveType().getPrimitiveTypeName()) {
                case BINARY: b.append(text(new String(row.getBinary(i, 0).getBytes(), StandardCharsets.UTF_8))); break;
                case INT64: b.append(row.getLong(i, 0)); break;
                case DOUBLE: b.append(row.getDouble(i, 0)); break;
                case BOOLEAN: b.append(row.getBoolean(i, 0)); break;
                default: throw new IllegalStateException(type.getFieldName(i));
            }
        }
        out.println(b.append('}'));
    }

    static String text(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c == '"' || c == '\\') {
                b.append('\\').append(c);
            } else if (c < ' ') {
                b.append(String.format("\\u%04x", (int) c));
            } else {
                b.append(c);
            }
        }
        return b.append('"').toString();
    }
}
