process MMGRAY_RUN {
    tag "$meta.id"
    label 'process_high'

    conda "${moduleDir}/environment.yml"
    container "registry.example/mmg-ray:0.1.0"

    input:
    tuple val(meta), path(table)
    path config

    output:
    tuple val(meta), path("${prefix}")            , emit: run
    tuple val(meta), path("${prefix}.graphml")    , emit: network
    tuple val(meta), path("${prefix}.report.html"), emit: report
    path "versions.yml"                           , emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def steps = task.ext.args2 ?: '--step fdr=0.05'
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    mmg-ray run $config --set data.path=$table --set output.url=$prefix $args
    mmg-ray export $prefix ${prefix}.graphml $steps
    mmg-ray report $prefix ${prefix}.report.html $steps

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        mmg-ray: \$(mmg-ray --version | sed 's/.* //')
    END_VERSIONS
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    mkdir $prefix
    touch ${prefix}.graphml ${prefix}.report.html

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        mmg-ray: \$(mmg-ray --version | sed 's/.* //')
    END_VERSIONS
    """
}
